"""Open division: a network of scikit-learn's on the task's data, its predictions handed in.

timetrial run examples/open_with_timetrial.py --division open --task digits-cnn
"""

import os

import numpy as np
from sklearn.neural_network import MLPClassifier

import timetrial

folder = os.environ["TIMETRIAL_RUN_DATA"]
target = float(os.environ["TIMETRIAL_RUN_TARGET"])
inputs, labels, tests, answers = (
    np.load(f"{folder}/{name}.npy")
    for name in ("train_inputs", "train_labels", "test_inputs", "test_labels")
)
inputs, tests = (part.reshape(len(part), -1) / inputs.max() for part in (inputs, tests))
seed = int(os.environ["TIMETRIAL_RUN_SEED"]) % 2**32
model = MLPClassifier((256,), learning_rate_init=0.005, batch_size=32, random_state=seed)
for epoch in range(1, 61):
    model.partial_fit(inputs, labels, classes=np.unique(labels))
    scores = model.predict_log_proba(tests)
    timetrial.record(step=epoch, predictions=scores)
    if np.mean(scores.argmax(axis=1) == answers) >= target:
        break

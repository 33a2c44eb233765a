"""How XLA compiles small networks quickly, for tests whose claim is what is computed."""

from __future__ import annotations

from typing import Final

# Compiling takes longer than computing here, and XLA's optimisations are not on trial. A training
# step with every kind of layer in float64: 12.1 s of CPU as shipped, 4.1 s without LLVM's
# optimisations, 1.1 s without the fusion emitters too (jax 0.10.2, n = 1 each). A deep network
# would be slower with these flags: it computes for longer than it is compiled.
XLA_IN_A_HURRY: Final = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
)

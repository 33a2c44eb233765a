"""Fakes and contract test classes for people who add parts; needs pytest.

fakes      a framework, an implementation and a task that need nothing but NumPy
examiner   an examination and those who carry it out
runs       a plan resolved for them, placed in a store
clusters   a Slurm, SSH servers or a Ray on this machine, for a launcher
talk       two programs that say what a network between them gives
contracts  what every implementation, framework, launcher and task must do, as test classes
algorithms what every algorithm of several workers must do, as a test class; exporters: likewise
gang       a few processes that learn together; quadratic: the small problem they learn

A part's own tests subclass the contract and give it the part by a fixture:

    class TestMine(FrameworkContract):
        @pytest.fixture
        def framework(self) -> Framework:
            return Mine()
"""

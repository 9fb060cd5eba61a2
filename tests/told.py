"""A callback of the command lines that prints what it is told."""


class Told:
    def start(self, start):
        print(f"told start of {start.command} in {start.folder} after {start.step}")

    def evaluation(self, evaluation):
        ap = evaluation.metrics["AP"]
        print(f"told {evaluation.prefix} AP {ap:.6f} at {evaluation.step}: {evaluation.report}")

    def end(self, end):
        print(f"told end: {end.status} at {end.step}")

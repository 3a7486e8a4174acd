"""The other side of `automl.py`, run by the Python of an environment that has AutoGluon.

python automl_peer.py TRAIN.csv TEST.csv TARGET METRIC SECONDS FOLDER > figures as JSON
"""

import json
import statistics
import sys
import time
import warnings
from pathlib import Path

ASKED = 30


def main() -> None:
    """Fit within the budget, judge on the test rows, and time answers to one row."""
    warnings.filterwarnings("ignore")
    import pandas as pd
    from autogluon.tabular import TabularPredictor

    train_file, test_file, target, metric, seconds, folder = sys.argv[1:]
    train, test = pd.read_csv(train_file), pd.read_csv(test_file)
    began = time.perf_counter()
    predictor = TabularPredictor(label=target, eval_metric=metric, path=folder, verbosity=0)
    predictor.fit(train, presets="medium_quality", time_limit=float(seconds), num_cpus=2)
    took = time.perf_counter() - began
    rows = test.drop(columns=target)
    probabilities = predictor.problem_type != "regression"
    answer = predictor.predict_proba if probabilities else predictor.predict
    answered = answer(rows)
    answered.to_csv(Path(folder, "answers.csv"), index=False)
    predictor.persist()
    waits = []
    for place in range(ASKED):
        row = rows.iloc[[place]]
        began = time.perf_counter()
        answer(row)
        waits.append(time.perf_counter() - began)
    print(json.dumps({"seconds": took, "one_row": statistics.median(waits)}))


if __name__ == "__main__":
    main()

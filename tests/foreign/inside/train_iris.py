"""Runs where mlserver is installed: writes a scikit-learn model for it to serve."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import joblib
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

home = Path(sys.argv[1])
features, classes = load_iris(return_X_y=True)
joblib.dump(
    LogisticRegression(max_iter=500).fit(features, classes), home / "model.joblib"
)
settings = {
    "name": "iris",
    "implementation": "mlserver_sklearn.SKLearnModel",
    "parameters": {"uri": "./model.joblib", "version": "v1"},
}
(home / "model-settings.json").write_text(json.dumps(settings))
ports = {"http_port": int(sys.argv[2]), "grpc_port": int(sys.argv[3])}
rest = {"host": "127.0.0.1", "metrics_port": int(sys.argv[4]), "parallel_workers": 0}
(home / "settings.json").write_text(json.dumps({**ports, **rest}))

"""Fitting models to data: named parameters, datasets, noise models, and an honest report."""

from .dataset import Dataset
from .derived import Derived
from .model import Curve, Model
from .noise import LogNormal, Normal
from .parameter import Parameter, Parameters
from .prediction import PredictedCurve, Prediction
from .result import Estimate, Fit
from .run import fit

__all__ = [
    "Curve", "Dataset", "Derived", "Estimate", "Fit", "LogNormal", "Model", "Normal", "Parameter", "Parameters", "PredictedCurve",
    "Prediction", "fit",
]

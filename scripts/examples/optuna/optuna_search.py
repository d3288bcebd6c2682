#!/usr/bin/env python3
"""Optuna as a strategy of autoresearchd.

It speaks the exec protocol (see ../README.md): one JSON object a line on
standard input and output. Options, in [search.exec.options]:

  sampler   "tpe" (default), "random", or "gp", which needs torch and scipy besides
  others    go to the sampler as they are: n_startup_trials = 20

Each "space" begins a new Optuna study, which "tell" fills with finished trials,
whoever proposed them. Each "ask" makes its sampler from the seed that it
brings, so that the same history gives the same answer after a restart.
"""

import json
import math
import sys
import warnings

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

PROTOCOL = 1
SAMPLERS = {
    "tpe": lambda seed, o: optuna.samplers.TPESampler(seed=seed, **{"multivariate": True, "group": True, **o}),
    "random": lambda seed, o: optuna.samplers.RandomSampler(seed=seed, **o),
    "gp": lambda seed, o: optuna.samplers.GPSampler(seed=seed, **{"deterministic_objective": False, **o}),
}


class Axis:
    """A dimension of the space as Optuna searches it.

    A grid is searched by the place of its choices, numbers in whole steps by
    how many steps, shares near 0 or 1 by their log-odds.
    """

    def __init__(self, d):
        self.name, self.choices, self.scale, self.step = d["name"], d.get("choices"), d["scale"], d.get("step")
        log = self.scale == "log"
        if self.choices and d["ordered"]:
            self.distribution = IntDistribution(0, len(self.choices) - 1)
        elif self.choices:
            self.distribution = CategoricalDistribution(list(range(len(self.choices))))
        elif self.step:
            low, high = math.ceil(d["low"] / self.step), math.floor(d["high"] / self.step)
            self.distribution = IntDistribution(low, high, log=log and low > 0)
        elif self.scale == "logit":
            self.distribution = FloatDistribution(self.encode(d["low"]), self.encode(d["high"]))
        else:
            self.distribution = FloatDistribution(d["low"], d["high"], log=log)

    def encode(self, value):
        """Returns Optuna's parameter for a value; ValueError if it has none."""
        if self.choices:
            return [json.dumps(c) for c in self.choices].index(json.dumps(value))
        if self.step:
            return round(value / self.step)
        return math.log(value / (1 - value)) if self.scale == "logit" else value

    def decode(self, parameter):
        """Returns the value of Optuna's parameter."""
        if self.choices:
            return self.choices[parameter]
        if self.step:
            return parameter * self.step
        return 1 / (1 + math.exp(-parameter)) if self.scale == "logit" else parameter

    def contains(self, parameter):
        """Says whether a parameter lies on the axis as it is now."""
        return isinstance(self.distribution, CategoricalDistribution) or (
            self.distribution.low <= parameter <= self.distribution.high
        )


class Search:
    """What Optuna knows since the last "space"."""

    def __init__(self, seed, options):
        options = dict(options)
        self.sampler, self.options = SAMPLERS[options.pop("sampler", "tpe")], options
        self.sampler(seed, options)  # so that a wrong option ends the program at once
        self.axes, self.study = {}, None

    def space(self, message):
        self.axes = {d["name"]: Axis(d) for d in message["dimensions"]}
        self.study = optuna.create_study(direction="minimize")

    def tell(self, message):
        """Adds a trial. One without a score ranks last; one from outside the space says nothing here."""
        if message["status"] == "interrupted":
            return
        try:
            parameters = {name: axis.encode(message["constants"][name]) for name, axis in self.axes.items()}
        except (KeyError, ValueError, TypeError, ZeroDivisionError):
            return
        if not all(self.axes[name].contains(p) for name, p in parameters.items()):
            return
        scored = message["value"] is not None
        self.study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.COMPLETE if scored else TrialState.PRUNED,
                value=message["value"],
                params=parameters,
                distributions={name: axis.distribution for name, axis in self.axes.items()},
            )
        )

    def ask(self, message):
        """Returns constants. The trial comes back by tell, so this copy is closed."""
        self.study.sampler = self.sampler(message["seed"], self.options)
        trial = self.study.ask({name: axis.distribution for name, axis in self.axes.items()})
        self.study.tell(trial, state=TrialState.FAIL)
        return {name: axis.decode(trial.params[name]) for name, axis in self.axes.items()}


def main():
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    search = None
    for line in sys.stdin:
        message = json.loads(line)
        answer = None
        match message["type"]:
            case "hello":
                search = Search(message["seed"], message["options"])
                answer = {"protocol": PROTOCOL, "name": "optuna " + optuna.__version__}
            case "space":
                search.space(message)
            case "tell":
                search.tell(message)
            case "ask":
                answer = {"id": message["id"], "constants": search.ask(message)}
        if answer is not None:  # other messages need none, nor do those of a later version
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()

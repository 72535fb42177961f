"""Plot bars with intervals, trials as points, hatches, numbers and a legend as SVG and PNG, by matplotlib.

Arguments: samples.csv of a run; a JSON list of figures {name, title, unit, inches, metrics, bars: [{label, group,
cells}]}; the output folder. Sizes and resolution are those of microbench's figures.
"""

import csv
import json
import math
import os
import statistics
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

samples, figures, folder = sys.argv[1:]
values = {}
with open(samples, newline="") as file:
    for row in csv.DictReader(file):
        if row["status"] == "ok" and row["warmup"] == "false" and row["superseded"] == "false":
            trials = values.setdefault((row["metric"], row["cell"]), {})
            trials.setdefault(row["trial"], []).append(float(row["value"]))

os.makedirs(folder, exist_ok=True)
plt.rcParams.update({"font.size": 8, "svg.fonttype": "none"})
COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7"]
HATCHES = ["", "//", "\\\\", "xx"]
for description in json.load(open(figures)):
    figure, axes = plt.subplots(figsize=description["inches"])
    groups = list(dict.fromkeys(bar["group"] for bar in description["bars"]))
    named = set()
    for layer, metric in enumerate(description["metrics"]):
        for place, bar in enumerate(description["bars"]):
            trials = [statistics.fmean(vms) for cell in bar["cells"] for vms in values[metric, cell].values()]
            mean = statistics.fmean(trials)
            half = 1.96 * statistics.stdev(trials) / math.sqrt(len(trials)) if len(trials) > 1 else 0.0
            group = groups.index(bar["group"])
            label = bar["group"] if (group, layer) not in named else None
            named.add((group, layer))
            axes.bar(place, mean, 0.7, yerr=half, capsize=3, color=COLOURS[group + 2 * layer], label=label,
                     hatch=HATCHES[group], edgecolor="black", linewidth=0.6)
            axes.plot([place] * len(trials), trials, "o", markersize=2.6, markerfacecolor="white",
                      markeredgecolor="black", markeredgewidth=0.5)
            axes.annotate(f"{mean:.0f}", (place, mean), ha="center", va="bottom")
    axes.set_xticks(range(len(description["bars"])), [bar["label"] for bar in description["bars"]], rotation=20)
    axes.set_ylabel(description["unit"])
    axes.set_title(description["title"])
    axes.legend()
    figure.tight_layout()
    for end in ["svg", "png"]:
        figure.savefig(os.path.join(folder, f"{description['name']}.{end}"), dpi=200)
    plt.close(figure)

"""Print the count, the median, its order-statistic interval, p90 and p99 of samples as CSV, by pandas or DuckDB.

Arguments: `pandas` or `duckdb`; a glob pattern of Parquet files; the number of values per group; the lower rank of the
interval, from 1. The ranks are arguments because neither library computes them, and so their computation is not timed.
"""

import sys

tool, pattern, n, low = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
KEYS = ["study", "cell", "metric", "unit", "host"]
# The k-th of n values is the quantile (k - 1) / (n - 1).
SHARES = [0.5, (low - 1) / (n - 1), (n - low) / (n - 1), 0.9, 0.99]

if tool == "pandas":
    import glob

    import pandas

    columns = KEYS + ["value", "status", "warmup", "superseded"]
    frame = pandas.concat(pandas.read_parquet(file, columns=columns) for file in sorted(glob.glob(pattern)))
    frame = frame[~frame.warmup & ~frame.superseded & (frame.status == "ok")]
    groups = frame.groupby(KEYS, sort=True).value
    found = groups.quantile(SHARES).unstack()
    found.insert(0, "n", groups.count())
    found.to_csv(sys.stdout, header=False)
else:
    import duckdb

    keys = ", ".join(KEYS)
    duckdb.sql(f"""
        copy (
            select {keys}, n, q[1], q[2], q[3], q[4], q[5] from (
                select {keys}, count(value) as n, quantile_cont(value, {SHARES}) as q
                from read_parquet('{pattern}')
                where not warmup and not superseded and status = 'ok'
                group by {keys}
            ) order by {keys}
        ) to '/dev/stdout' (header false)
    """)

"""What every Ray of our own finds in its environment, on this machine and on the nodes of a Slurm job.

Without Ray, so that it can be read before Ray is.
"""

TEMP_ROOT = "/tmp"
"""Where a Ray of our own has its folder: its socket paths must stay under 107 characters, and what TMPDIR names may be
longer (macOS, jobs), or lie on a shared disk."""

RAY_SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # leave CUDA_VISIBLE_DEVICES alone where no GPU is asked for
    # Else it starts workers before the sweep may connect, and waits for ever where one of them fails to start.
    "RAY_prestart_worker_first_driver": "0",
    # With ray[default] Ray would serve metrics: without a token, and on ports that two Rays of a machine both want.
    "RAY_enable_metrics_collection": "0",
    "AUTOSCALER_METRIC_PORT": "-1",
    "DASHBOARD_METRIC_PORT": "-1",
}

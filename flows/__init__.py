"""When the work is done, and what happens if it fails: the retrain and reindex flows, snapshots, and data under DVC.

DVC says what is stale (`graph`), git keeps what went in (`snapshot`), Prefect runs, logs, retries and schedules.
Importing this package prepares the environment, because Prefect and DVC read theirs when they are first imported.
What the user has set wins.
"""

import os

_DEFAULTS = {
    # Nothing is told to anybody.
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
    # Without PREFECT_API_URL, Prefect starts a server of its own for the time of the run.
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "true",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # A person reads this: the time, the stage, what it says.
    "PREFECT_LOGGING_FORMATTERS_STANDARD_DATEFMT": "%H:%M:%S",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_FLOW_RUN_FMT": "%(asctime)s  %(message)s",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_TASK_RUN_FMT": "%(asctime)s  %(task_run_name)s │ %(message)s",
}

for _name, _value in _DEFAULTS.items():
    os.environ.setdefault(_name, _value)

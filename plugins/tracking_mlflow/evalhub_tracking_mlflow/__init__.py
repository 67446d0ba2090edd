"""The tracker ``mlflow``: an experiment for each new job that names one, a run for each finished job."""

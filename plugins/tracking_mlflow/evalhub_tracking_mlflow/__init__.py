"""Tracks jobs in MLflow: experiments at create, a run for each job that has ended."""

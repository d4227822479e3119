"""Search for bit widths with KerasTuner: candidates, score, trials, oracles, worker processes and reports."""

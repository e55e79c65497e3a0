"""Full ranking, its metrics with standard errors, and paired comparisons; results are kept with the run."""

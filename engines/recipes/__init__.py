"""The runbook itself: which steps, checks and gates make a plan. The one place that puts the engines together."""

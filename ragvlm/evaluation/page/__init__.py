"""The parts of report.html: what a run's folder holds, in the words, tables, plots and cases that a reader needs."""

"""``results/report.html``: all results in one file that needs neither a server nor the internet."""

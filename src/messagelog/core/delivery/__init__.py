"""Start work when it is due; one claimed step: prepare, call the CRM, reconcile, save the outcome, notify requests."""

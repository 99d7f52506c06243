"""One claimed step: prepare, call the CRM, reconcile, save the outcome; and who is told."""

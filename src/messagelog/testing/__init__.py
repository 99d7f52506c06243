"""Counterparts and suites for trying out a connector without a real RingCentral account or CRM."""

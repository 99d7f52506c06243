"""Test tools for authors of connectors, without a real RingCentral account or CRM."""

"""Users, their tenants and settings, and their sessions at the CRM."""

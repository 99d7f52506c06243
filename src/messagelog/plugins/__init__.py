"""Plugins: code that sees a request before it is planned, and may change or refuse it."""

from messagelog.plugins.contract import BadPluginSetting, ContactForm, Plugin, Refused, RequestContext

__all__ = ["BadPluginSetting", "ContactForm", "Plugin", "Refused", "RequestContext"]

"""Plugins: code that sees a request before it is planned, and may change or refuse it."""

from messagelog.plugins.contract import BadPluginSetting, Plugin, Refused, RequestContext

__all__ = ["BadPluginSetting", "Plugin", "Refused", "RequestContext"]

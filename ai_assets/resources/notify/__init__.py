"""Telling people: alerts, the channels that they go through, and an outbox that loses none."""

from ai_assets.resources.notify.alert import SEVERITIES, Alert
from ai_assets.resources.notify.decided import alerts_on
from ai_assets.resources.notify.notifier import Delivered, Notifier

__all__ = ["SEVERITIES", "Alert", "Delivered", "Notifier", "alerts_on"]

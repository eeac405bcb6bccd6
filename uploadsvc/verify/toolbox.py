"""Everything verification needs, loaded once: the one place of this package that names
concrete classes. Shared by the warm child and ``uploadsvc verify``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from uploadsvc.model import Outcome, Progress
from uploadsvc.verify import Limits, Subject
from uploadsvc.verify.classifier import OnnxClassifier
from uploadsvc.verify.formats import FORMATS
from uploadsvc.verify.moderation import Policy
from uploadsvc.verify.pipeline import verify
from uploadsvc.verify.probe import identify


@dataclass(frozen=True, slots=True)
class Toolbox:
    classifier: OnnxClassifier
    policy: Policy
    limits: Limits

    @classmethod
    def load(cls, policy_file: str = "") -> Toolbox:
        """``policy_file`` empty: the policy shipped. Raises PolicyError."""
        policy = Policy.load(Path(policy_file) if policy_file else None)
        return cls(OnnxClassifier(), policy, Limits())

    def verify(self, subject: Subject) -> Iterator[Progress | Outcome]:
        return verify(
            subject,
            limits=self.limits,
            formats=FORMATS,
            classifier=self.classifier,
            policy=self.policy,
            identify=identify,
        )

"""Everything verification needs, loaded once: the one place of this package that names
concrete classes. Shared by the warm child and ``uploadsvc verify``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from uploadsvc.model import Outcome, Progress
from uploadsvc.verify import Analyser, Limits, Subject, policy_file
from uploadsvc.verify.analysers import config, plugins
from uploadsvc.verify.analysers.clamav import ClamAv
from uploadsvc.verify.analysers.knownbad import KnownBad
from uploadsvc.verify.analysers.pictures import Pictures
from uploadsvc.verify.analysers.remote import RemoteAnalyser
from uploadsvc.verify.analysers.words import Words
from uploadsvc.verify.broker import Ask, directly
from uploadsvc.verify.classifier import OnnxClassifier
from uploadsvc.verify.formats import FORMATS
from uploadsvc.verify.formats.texts import READERS
from uploadsvc.verify.moderation import Policy
from uploadsvc.verify.pipeline import verify
from uploadsvc.verify.probe import identify


@dataclass(frozen=True, slots=True)
class Toolbox:
    analysers: tuple[Analyser, ...]
    policy: Policy
    limits: Limits

    @classmethod
    def load(
        cls,
        policy_path: str = "",
        *,
        lists: Path | None = None,
        clamd: Path | None = None,
        ask: Ask | None = None,
    ) -> Toolbox:
        """``policy_path`` empty: the policy shipped. ``lists`` is the folder of known-bad lists,
        that of the policy if None; ``clamd`` a socket. Without ``ask`` there is no way to the
        engines the policy names, and all that they should have seen is unexamined.

        Raises PolicyError or PluginError.
        """
        policy = policy_file.load(Path(policy_path) if policy_path else None)
        configured = config.read(policy.analysers, plugins.installed())
        ask = ask or directly({})
        return cls(
            (
                Pictures(OnnxClassifier()),
                Words(policy.text),
                KnownBad(lists or policy.lists),
                *([ClamAv(clamd)] if clamd else []),
                *(
                    RemoteAnalyser(each.name, ask, every=each.every)
                    for each in configured.http
                ),
                *plugins.load(configured.plugins),
            ),
            policy,
            Limits(),
        )

    def verify(self, subject: Subject) -> Iterator[Progress | Outcome]:
        return verify(
            subject,
            limits=self.limits,
            formats=FORMATS,
            readers=READERS,
            analysers=self.analysers,
            policy=self.policy,
            identify=identify,
        )

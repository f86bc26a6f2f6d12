"""
What all builders here have in common: they derive exactly what is to be derived.

A *group* is what is derived at once: it names its members, the documents that it is made from. The
fingerprint of members, code version and parameters stands in each derived document, and a group is
derived again where any of it changed. So a changed, an added and a removed member show, whatever
the clocks say; documents of groups that are gone are removed; and a build that was cut off goes on
where it stopped. What cannot be derived is a document too: its state is ``failed``.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib import metadata
from typing import Any, TypedDict

from maggma.core import Builder, Store

from vtc_flows.builders.fingerprints import code_version, content_digest, digest, fingerprint
from vtc_flows.errors import EngineError, VtcFlowsError
from vtc_flows.schemas.derived import BuildInfo, BuildMember
from vtc_flows.stores.collections import utc_stamp

Document = dict[str, Any]

FAILED = "failed"

_LIBRARIES = ("numpy", "spglib", "pymatgen-core", "pymatgen")
_MOST_MEMBERS = 1000
_HIGHEST = "\U0010ffff"
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True)
class Group:
    """
    What is derived at once.

    Attributes
    ----------
    name : str
        Its own among the groups of a builder.
    members : mapping of str to str
        Names of the documents that it is made from, with the stamp by which a change shows.
    """

    name: str
    members: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Work:
    """
    A group with what was read for it.

    Attributes
    ----------
    group : Group
    fingerprint : str
    content : object
        What `DerivedBuilder.derive` takes.
    is_gone : bool
        The group is no more; there is nothing to derive.
    """

    group: Group
    fingerprint: str
    content: Any = None
    is_gone: bool = False


@dataclass(frozen=True, eq=False)
class Made:
    """A group's documents; none where the group is no more."""

    group: Group
    fingerprint: str
    documents: list[Document]


@dataclass(frozen=True)
class Plan:
    """What is to be derived, which groups are no more, and how many are as they should be."""

    stale: list[Group]
    gone: list[str]
    n_current: int


@dataclass
class BuildReport:
    """
    What a build did.

    Attributes
    ----------
    n_current : int
        Groups that needed nothing.
    n_derived : int
        Groups that were derived.
    n_written : int
        Documents that are new or changed.
    n_unchanged : int
        Documents that came out as they were.
    n_removed : int
        Documents that are no more.
    states : Counter of str
        Documents that were derived, by their state.
    failures : Counter of str
        Documents that say a failure, by its reason.
    """

    n_current: int = 0
    n_derived: int = 0
    n_written: int = 0
    n_unchanged: int = 0
    n_removed: int = 0
    states: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        """Return it in one line."""
        failed = ", ".join(f"{count} {reason}" for reason, count in self.failures.most_common())
        return (
            f"{self.n_current} groups current, {self.n_derived} derived: {self.n_written} "
            f"documents written, {self.n_unchanged} unchanged, {self.n_removed} removed; "
            f"failures: {failed or 'none'}"
        )


class BuildOptions(TypedDict, total=False):
    """
    What every builder takes.

    Attributes
    ----------
    chunk_size : int
        Groups that are read, and written, at a time.
    query : mapping, optional
        Which documents of the first source; all if not given. Derived documents of the others
        stay as they are.
    retry_failed : bool
        Derive again what failed.
    rebuild : bool
        Derive everything again.
    span : (str or None, str or None), optional
        First name of groups, and the one after the last; for work that is shared out.
    """

    chunk_size: int
    query: Mapping[str, Any] | None
    retry_failed: bool
    rebuild: bool
    span: Sequence[str | None] | None


class DerivedBuilder(Builder):
    """
    Base of the builders.

    Parameters
    ----------
    sources : sequence of Store
        What is read; where the first is empty, nothing is removed: somebody looks at the wrong
        database.
    target : Store
        What is written.
    options : BuildOptions

    Raises
    ------
    TypeError
        If an option is none of these.
    """

    #: Raised where what the builder derives changes within a version of the package.
    revision = 1

    #: The chunk size, if not given.
    groups_at_a_time = 100

    def __init__(self, sources: Sequence[Store], target: Store, options: BuildOptions) -> None:
        if unknown := options.keys() - BuildOptions.__annotations__.keys():
            raise TypeError(f"{type(self).__name__} takes no {', '.join(sorted(unknown))}")
        chunk_size = options.get("chunk_size", self.groups_at_a_time)
        super().__init__(sources=list(sources), targets=[target], chunk_size=chunk_size)
        self.target = target
        self.query = dict(options.get("query") or {})
        self.retry_failed = options.get("retry_failed", False)
        self.rebuild = options.get("rebuild", False)
        span = options.get("span")
        self.span = list(span) if span is not None else None
        self.report = BuildReport()

    @property
    def _kwargs(self) -> BuildOptions:
        """Return the options: where monty looks for what an ``__init__`` takes as ``**build``."""
        return {
            "chunk_size": self.chunk_size,
            "query": self.query,
            "retry_failed": self.retry_failed,
            "rebuild": self.rebuild,
            "span": self.span,
        }

    # what a builder is

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """Return what decides the numbers; builders that differ in it leave each other alone."""

    @abstractmethod
    def list_groups(self, query: Mapping[str, Any]) -> Iterable[Group]:
        """Return all groups with their members; reads names and stamps, no content."""

    @abstractmethod
    def read(self, groups: Sequence[Group]) -> Mapping[str, Any]:
        """Return what `derive` needs of some groups by their names: few queries for all."""

    @abstractmethod
    def derive(self, content: Any) -> list[Document]:
        """
        Return a group's documents; no database, no files.

        Raises
        ------
        VtcFlowsError
            If there are none; `failed_document` then stands for them.
        """

    @abstractmethod
    def failed_document(self, name: str, content: Any) -> Document:
        """Return key and identity of the document that says that a group of a name failed."""

    # maggma's four steps

    def connect(self) -> None:
        """Connect the stores, and see to the target's indexes."""
        super().connect()  # type: ignore[no-untyped-call]
        self.target.ensure_index(self.target.key, unique=True)
        self.target.ensure_index("build.group")
        self.report = BuildReport()

    def get_items(self) -> Iterator[Work]:
        """Yield what is to be done; each group is read shortly before."""
        todo = self.plan()
        self.total = len(todo.stale) + len(todo.gone)
        self.report.n_current = todo.n_current
        for name in todo.gone:
            yield Work(Group(name, {}), "", is_gone=True)
        for start in range(0, len(todo.stale), self.chunk_size):
            some = todo.stale[start : start + self.chunk_size]
            contents = self.read(some)
            for group in some:
                if group.name in contents:  # else it went since it was listed
                    yield Work(group, self._fingerprint(group), contents[group.name])

    def process_item(self, item: Work) -> Made:
        """Derive a group; never raises, as maggma's processes would lose what does."""
        if item.is_gone:
            return Made(item.group, "", [])
        try:
            documents = self.derive(item.content)
        except Exception as error:
            self.logger.debug("%s", item.group.name, exc_info=True)
            named = self.failed_document(item.group.name, item.content)
            documents = [{**named, **failure(error)}]
        for document in documents:
            document["build"] = self._info(item, len(documents), document)
        return Made(item.group, item.fingerprint, documents)

    def update_targets(self, items: Sequence[Made]) -> None:
        """Write the documents of groups; what came out as it was keeps its time stamp."""
        if not items:
            return
        key = self.target.key
        known = self._known([made.group.name for made in items])
        to_write: list[Document] = []
        for made in items:
            for document in made.documents:
                before = known.get(made.group.name, {}).pop(document[key], None)
                same = before is not None and before.content == document["build"]["content"]
                document["last_updated"] = before.last_updated if before and same else utc_stamp()
                self.report.n_unchanged += same
                self.report.n_written += not same
                self.report.states[document["state"]] += 1
                if document["state"] == FAILED:
                    self.report.failures[document["reason"]] += 1
                if not same or (before and before.fingerprint != made.fingerprint):
                    to_write.append(document)
            self.report.n_derived += bool(made.documents)
        if to_write:
            self.write(to_write)
        # after the new ones are there: whoever is cut off in between finds the group not current
        leftover = [name for names in known.values() for name in names]
        if leftover:
            self.report.n_removed += self.remove(leftover)

    def finalize(self) -> None:
        """Say what was done, and close the stores."""
        self.logger.info("%s", self.report)
        super().finalize()  # type: ignore[no-untyped-call]

    def prechunk(self, number_splits: int) -> Iterator[dict[str, Any]]:
        """Yield what differs between builders that share the work: spans of groups' names."""
        names = sorted({group.name for group in self.list_groups(self.query)} | set(self._built()))
        # at least one: workers wait in vain for a manager that has nothing for them
        n_parts = max(1, min(number_splits, len(names)))
        limits = [names[len(names) * part // n_parts] for part in range(1, n_parts)]
        for low, high in zip([None, *limits], [*limits, None], strict=True):
            yield {"span": [low, high]}

    # for builders that do more than one collection's documents

    def write(self, documents: list[Document]) -> None:
        """Write documents by the target's key, in place of those that are there."""
        self.target.update(documents, key=self.target.key)

    def remove(self, names: list[str]) -> int:
        """Remove documents by the target's key; return how many."""
        self.target.remove_docs({self.target.key: {"$in": names}, **self._own()})
        return len(names)

    # what decides

    @property
    def scope(self) -> str:
        """Digest of the parameters."""
        return digest(self.parameters())

    def plan(self) -> Plan:
        """
        Compare what there is with what was derived.

        Returns
        -------
        Plan
            Groups in the order of their names.
        """
        listed = {group.name: group for group in self.list_groups(self.query)}
        listed = {name: listed[name] for name in sorted(listed) if self._is_mine(name)}
        built = self._built()
        stale = [
            group
            for name, group in listed.items()
            if self.rebuild or not self._is_current(group, built.get(name, []))
        ]
        gone = sorted(
            name
            for name, documents in built.items()
            if name not in listed and not any(one.kept for one in documents)
        )
        if gone and self.query:
            there = {group.name for group in self.list_groups({})}
            gone = [name for name in gone if name not in there]
        if gone and not self.sources[0].count():
            self.logger.warning(
                "%s is empty: what was derived from it, %d groups, is left as it is",
                self.sources[0].name,
                len(gone),
            )
            gone = []
        return Plan(stale, gone, len(listed) - len(stale))

    def _is_mine(self, name: str) -> bool:
        low, high = self.span or (None, None)
        return (low or "") <= name < (high or _HIGHEST)

    def _is_current(self, group: Group, documents: Sequence[_Built]) -> bool:
        if not documents or len(documents) != documents[0].n_documents:
            return False
        if self.retry_failed and any(one.has_failed for one in documents):
            return False
        return {one.fingerprint for one in documents} == {self._fingerprint(group)}

    def _fingerprint(self, group: Group) -> str:
        return fingerprint(
            group.members, code_version=code_version(self.revision), parameters=self.parameters()
        )

    def _own(self) -> dict[str, str]:
        """Return the query for the documents of this builder with these parameters."""
        return {"build.builder": type(self).__name__, "build.scope": self.scope}

    def _built(self) -> dict[str, list[_Built]]:
        fields = ["group", "fingerprint", "n_documents", "kept", "content"]
        built: dict[str, list[_Built]] = {}
        for document in self.target.query(
            self._own(), [self.target.key, "state", *(f"build.{name}" for name in fields)]
        ):
            if self._is_mine(document["build"]["group"]):
                one = _Built.of(document)
                built.setdefault(document["build"]["group"], []).append(one)
        return built

    def _known(self, groups: list[str]) -> dict[str, dict[str, _Built]]:
        """Return what is there of some groups: by group, then by key."""
        known: dict[str, dict[str, _Built]] = {}
        key = self.target.key
        for document in self.target.query(
            {**self._own(), "build.group": {"$in": groups}}, [key, "state", "last_updated", "build"]
        ):
            ours = known.setdefault(document["build"]["group"], {})
            ours[document[key]] = _Built.of(document)
        return known

    def _info(self, item: Work, n_documents: int, document: Document) -> Document:
        members = sorted(item.group.members.items())
        return BuildInfo(
            builder=type(self).__name__,
            scope=self.scope,
            group=item.group.name,
            fingerprint=item.fingerprint,
            n_documents=n_documents,
            content=content_digest(document),
            code_version=code_version(self.revision),
            parameters=self.parameters(),
            n_members=len(members),
            members=[
                BuildMember(id=name, stamp=stamp)
                for name, stamp in (members if len(members) <= _MOST_MEMBERS else [])
            ],
            libraries=_library_versions(),
        ).model_dump(mode="json")


def failure(error: Exception) -> Document:
    """
    Return what the document of a failure says: a reason for programs, a line for people.

    Examples
    --------
    >>> from vtc_flows.errors import NoTransitionMetalError
    >>> failure(NoTransitionMetalError("NaCl holds none of Sc ... Zn"))["reason"]
    'no_transition_metal'
    >>> failure(ZeroDivisionError("division by zero"))["message"]
    'ZeroDivisionError: division by zero'
    """
    name = type(error).__name__
    text = " ".join(str(error).split())
    if isinstance(error, EngineError):
        reason, message = error.reason, " ".join(error.message.split())
    elif isinstance(error, VtcFlowsError):
        reason, message = _CAMEL.sub("_", name.removesuffix("Error")).lower(), text
    else:
        reason, message = "unexpected", f"{name}: {text}"
    return {"state": FAILED, "reason": reason, "message": message}


def stamp_text(value: object) -> str:
    """
    Return a document's time stamp as members hold it.

    Examples
    --------
    >>> stamp_text(datetime(2026, 1, 2, 3, 4, 5, 678000))
    '2026-01-02T03:04:05.678'
    """
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    return str(value)


@dataclass(frozen=True)
class _Built:
    """What a derived document says of itself."""

    fingerprint: str
    n_documents: int
    content: str
    has_failed: bool
    kept: bool
    last_updated: datetime | None

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> _Built:
        build = document["build"]
        return cls(
            build["fingerprint"],
            build["n_documents"],
            build["content"],
            document.get("state") == FAILED,
            build.get("kept", False),
            document.get("last_updated"),
        )


@cache
def _library_versions() -> dict[str, str]:
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions

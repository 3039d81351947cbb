"""An app with handlers of all kinds, whose patterns use every function there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from typing_extensions import TypedDict

from megaflow import App, MemoryStore, Message, Payload, ProcessStatus, Reject, RetryLater, Router
from megaflow.match import functions as match
from megaflow.match.filters import from_eventbridge, from_sns_filter_policy


class Item(BaseModel):
    item_id: str
    quantity: int


@dataclass
class Order:
    id: int
    total: float = 0.0


class Note(TypedDict):
    type: str
    id: int | None


def end_as(said: object) -> ProcessStatus | None:
    """End as a message asks for."""
    if said == "raise":
        raise ValueError(f"what it says: {said}")
    if said == "reject":
        raise Reject("so it asks")
    if said == "later":
        raise RetryLater(after=30)
    return ProcessStatus[said] if isinstance(said, str) and said in ProcessStatus.__members__ else None


def _is_divisible(value: Any) -> bool:
    return bool(100 % value == 0)  # raises for 0, and for what is no number


router = Router()


@router.on_event(domain="shop", name=match.one_of("paid", match.prefix("item.")), version=match.gte(1))
def pay(payload: Payload) -> None:
    payload.event.attributes.clear()


@router.on_event(
    domain=match.wildcard("shop*"), attributes={"quantity": match.gt(0), "item_id": match.not_(match.empty())}
)
def reserve(attributes: Item) -> None: ...


@router.on_event(name=match.any_(), object_current=match.exists(), extra={"a.b": match.absent()})
async def log_event(payload: Payload, message: Message) -> ProcessStatus | None:
    return end_as(message.attributes.get("tenant"))


@router.on_data({"type": "order", "status": match.any_()})
def order(data: dict[str, Any]) -> ProcessStatus | None:
    return end_as(data["status"])


@router.on_data({"type": "order", "total": match.between(0, 101)}, on_invalid="keep")
def charge(data: Order) -> None: ...


@router.on_data({"type": match.iequals("refund"), "id": match.neq(7)}, retry_on=ValueError)
async def refund(data: dict[str, Any]) -> ProcessStatus | None:
    return end_as(data.get("status"))


@router.on_data({"type": "note"}, on_invalid="delete")
def note(data: Note) -> None: ...


@router.on_data({"user": {"name": match.search("[a-z]+@"), "address": match.cidr("10.0.0.0/8")}})
@router.on_data({"tags": match.contains(match.match("us")), "items": match.all_items(match.gt(0))})
@router.on_data({"items": match.length(match.lte(2)), "at": match.lt("2030-01-01") | match.suffix("Z")})
@router.on_data({"price": 19.99, "id": match.in_([1, 7, "7"]) & match.lt(100)})
@router.on_data(
    {"extra": match.eq({}), "name": match.or_(match.fullmatch("a+b?"), match.and_(match.length(1), str.isupper))}
)
def anything(data: dict[str, Any]) -> None: ...


@router.on_data({"total": _is_divisible})
def divide(data: dict[str, Any]) -> None: ...


@router.on_data(from_eventbridge({"type": [{"prefix": "user:"}], "id": [{"numeric": [">", 0]}]}))
@router.on_data(from_sns_filter_policy({"type": ["order"], "total": [{"numeric": [">=", 100]}]}))
def filtered(data: dict[str, Any]) -> None: ...


@router.on_text(match.search(r"\bp[io]ng\b|^a{5,}b"))
@router.on_text(match.prefix("2026-") & match.not_(match.suffix("Z")))
def text(body: str) -> ProcessStatus | None:
    return ProcessStatus.RETRY_LATER if body.endswith("!") else None


@router.on_binary()
def binary(blob: bytes) -> ProcessStatus | None:
    return ProcessStatus.FATAL_ERROR if blob[:1] == b"\0" else None


@router.on_message(lambda message: message.attributes.get("price", 0) == 1 or bool(message.problem and message.sns))
def odd(message: Message) -> None: ...


def make_apps() -> tuple[App, App]:
    """Return an app whose handlers are called at once, and one that remembers what they did, in steps."""
    plain, remembering = App(retry_on=ConnectionError), App(retry_on=(), progress=MemoryStore())
    for app in (plain, remembering):
        app.include(router)
    remembering.on_data(
        {"id": match.gte(0)}, timeout=60, idempotency_key=lambda data: str(data["id"])[:40], idempotent_for=0
    )(once)
    return plain, remembering


async def once(data: dict[str, Any]) -> ProcessStatus | None:
    return end_as(data.get("status"))

"""The fake service itself: takes a recorded request and returns a reply.  No sockets, no waiting."""

import hmac
import math
import random
import re
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, unquote, urlencode

import attrs

from dexcmd.sandbox.artifacts import Artifact, ArtifactSpec, build_artifact
from dexcmd.sandbox.behaviour import Behaviour
from dexcmd.sandbox.downloads import file_reply, http_date
from dexcmd.sandbox.envelope import Code, ServiceError, failure, result_info, success
from dexcmd.sandbox.faults import Fault
from dexcmd.sandbox.pages import json_reply
from dexcmd.sandbox.queries import Paging, parse_command_query, parse_device_query
from dexcmd.sandbox.ratelimit import RateLimiter
from dexcmd.sandbox.reply import Reply
from dexcmd.sandbox.requestlog import Operation, RecordedRequest
from dexcmd.sandbox.rows import alter_rows, create_row, device_row, list_row, quota_result
from dexcmd.sandbox.shaping import (
    damage_behaviour,
    damage_envelope,
    damage_headers,
    damage_reply,
    heard_headers,
    reply_instead,
)
from dexcmd.sandbox.state import SandboxState, StoredCommand
from dexcmd.sandbox.validation import parse_create

__all__ = ["BASE_PATH", "STORAGE_PATH", "Service", "find_route", "is_token"]

BASE_PATH = "/client/v4"
STORAGE_PATH = "/artifacts"
_B64TOKEN = r"[A-Za-z0-9._~+/=-]+"
_BEARER = re.compile(rf"[Bb]earer +({_B64TOKEN})")
_ACCOUNT = re.compile(r"[0-9a-f]{32}")
_CACHED_ARTIFACTS = 64
_LATER_HOPS_STATUS = 307


@attrs.frozen
class _Answer:
    """A response before any fault is applied."""

    reply: Reply
    envelope: dict[str, Any] | None = None
    """The envelope that the reply's JSON was made from."""
    processed: bool = False


def is_token(text: str) -> bool:
    """Return whether a text can be a bearer token."""
    return re.fullmatch(_B64TOKEN, text) is not None


def find_route(method: str, path: str) -> tuple[Operation, dict[str, str]]:
    """Return the operation of an API request and the parameters in its path; `path` is percent-encoded."""
    prefix = f"{BASE_PATH}/accounts/"
    if not path.startswith(prefix):
        return "unknown", {}
    account_id, *rest = (unquote(segment) for segment in path[len(prefix) :].split("/"))
    params = {"account_id": account_id}
    match method, rest:
        case "GET", ["dex", "commands"]:
            return "list_commands", params
        case "POST", ["dex", "commands"]:
            return "create_commands", params
        case "GET", ["dex", "commands", "devices"]:
            return "list_devices", params
        case "GET", ["dex", "commands", "quota"]:
            return "get_quota", params
        case "GET", ["dex", "commands", command_id, "downloads", filename]:
            return "download", {**params, "command_id": command_id, "filename": filename}
        case _:
            return "unknown", params


class Service:
    """Decides the response to a request from the state, the behaviour and the fault."""

    def __init__(self, state: SandboxState, *, token: str, account_id: str, seed: int) -> None:
        self.state = state
        self.limiter: RateLimiter = RateLimiter()
        self.api_origin = ""
        """Scheme, host and port of the API; set while it listens."""
        self.storage_origin = ""
        """Scheme, host and port of the storage; set once it listens."""
        self._token = token
        self._account_id = account_id
        self._rng = random.Random(f"rays {seed}")  # noqa: S311 - made-up data, no secret
        self._artifacts: OrderedDict[tuple[str, int], Artifact] = OrderedDict()

    @property
    def behaviour(self) -> Behaviour:
        """The switches in force."""
        return self.state.behaviour

    def refuse(self, request: RecordedRequest) -> Reply | None:
        """Count a request; return the 429 if the rate limit refuses it, None if it passes."""
        if request.operation == "storage" or self.limiter.admit(request.at, self.behaviour):
            return None
        headers: dict[str, str] = {}
        standing = self.limiter.standing(request.at, self.behaviour)
        if self.behaviour.retry_after and standing is not None:
            headers["Retry-After"] = str(max(math.ceil(standing.reset_after), 1))
        error = ServiceError(Code.RATE_LIMITED, "Please wait and consider throttling your request speed")
        return self._finish(request, json_reply(429, failure([error]), headers), self._new_ray())

    def respond(self, request: RecordedRequest, fault: Fault | None) -> Reply:
        """Do the work of a request, unless the fault prevents it, and return the response with the fault applied."""
        ray = self._new_ray()
        instead = self._instead(fault, request, ray) if fault is not None else None
        if fault is not None and instead is not None and not fault.processed:
            return self._finish(request, instead, ray)
        answer = self._answer(request, fault)
        request.processed = answer.processed
        reply = answer.reply
        if fault is not None:
            if instead is not None:
                reply = instead
            else:
                if fault.kind in ("revise", "ignore_if_range") and answer.processed:
                    # The part being sent is still of the old artifact.
                    self.state.revise(request.params["command_id"], same_bytes=fault.same_bytes)
                    reply = reply if fault.at is not None else self._answer(request, fault).reply
                if answer.envelope is not None and answer.processed:
                    reply = json_reply(reply.status, damage_envelope(fault, answer.envelope))
                reply = damage_reply(fault, reply)
        reply = self._finish(request, reply, ray)
        return reply if fault is None else damage_headers(fault, reply)

    def artifact(self, command: StoredCommand) -> Artifact:
        """Return a command's artifact in its current revision."""
        key = command.id, command.revision
        artifact = self._artifacts.get(key)
        if artifact is None:
            artifact = self._artifacts[key] = build_artifact(
                ArtifactSpec(
                    command_id=command.id,
                    command_type=command.type,
                    device_name=command.device.name,
                    user_email=command.device.user_email,
                    platform=command.device.platform,
                    version=command.device.version,
                    args=command.args,
                    created=command.created,
                    size=command.size,
                    revision=command.revision,
                )
            )
            if len(self._artifacts) > _CACHED_ARTIFACTS:
                self._artifacts.popitem(last=False)
        self._artifacts.move_to_end(key)
        return artifact

    def artifact_url(self, command: StoredCommand, *, signed: bool = False, hops: int = 0) -> str:
        """Return the storage URL of a command's artifact; only a signed URL gives access.

        With `hops`, the artifact is that many redirects away from the URL.
        """
        url = f"{self.storage_origin}{STORAGE_PATH}/{command.id}/{quote(command.filename, safe='')}"
        if not signed:
            return url
        return f"{url}?signature={self._sign(command.id)}" + (f"&hops={hops}" if hops else "")

    def _api_url(self, command: StoredCommand) -> str:
        path = f"{BASE_PATH}/accounts/{self._account_id}/dex/commands/{command.id}/downloads"
        return f"{self.api_origin}{path}/{quote(command.filename, safe='')}"

    def _instead(self, fault: Fault, request: RecordedRequest, ray: str) -> Reply | None:
        if fault.kind != "redirect":
            return reply_instead(fault, request, ray)
        location = fault.target
        if location == "self":
            location = f"{request.origin}{request.path}?{urlencode(request.query)}".rstrip("?")
        elif location in ("storage", "other"):
            command = self.state.commands.get(request.params.get("command_id", ""))
            if command is None:
                return None
            if location == "other" and request.operation == "storage":
                location = self._api_url(command)
            else:
                location = self.artifact_url(command, signed=True, hops=fault.amount - 1)
        return Reply(status=fault.status, headers={} if location is None else {"Location": location})

    def _finish(self, request: RecordedRequest, reply: Reply, ray: str) -> Reply:
        """Add the headers that every response has."""
        headers = {**reply.headers, "Date": http_date(self.state.now()), "Server": "cloudflare"}
        if request.operation == "storage":
            headers["Server"] = "storage"
            return attrs.evolve(reply, headers=headers)
        headers["cf-ray"] = ray
        if self.behaviour.ratelimit_headers:
            standing = self.limiter.standing(request.at, self.behaviour)
            if standing is not None:
                headers |= standing.headers(self.behaviour.rate_window)
        return attrs.evolve(reply, headers=headers)

    def _new_ray(self) -> str:
        return f"{self._rng.getrandbits(64):016x}-LHR"

    def _sign(self, command_id: str) -> str:
        return hmac.new(self._token.encode(), command_id.encode(), "sha256").hexdigest()

    # --- answers

    def _answer(self, request: RecordedRequest, fault: Fault | None) -> _Answer:
        if request.operation == "storage":
            return self._from_storage(request, fault)
        refusal = self._check_access(request)
        if refusal is not None:
            return refusal
        match request.operation:
            case "list_commands":
                return self._list_commands(request)
            case "create_commands":
                return self._create_commands(request)
            case "list_devices":
                return self._list_devices(request)
            case "get_quota":
                return self._success(quota_result(self.state.quota, self.behaviour))
            case "download":
                return self._download(request, fault)
            case _:
                return self._no_route(request)

    def _check_access(self, request: RecordedRequest) -> _Answer | None:
        bearer = _BEARER.fullmatch(request.headers.get("Authorization", ""))
        if bearer is None:
            cause = (Code.MALFORMED_TOKEN_FORMAT, "Invalid format for Authorization header")
            return self._refusal(400, ServiceError(Code.MALFORMED_TOKEN, "Invalid request headers", chain=(cause,)))
        refused = ServiceError(Code.REFUSED_TOKEN, "Authentication error")
        if not hmac.compare_digest(bearer[1], self._token):
            return self._refusal(403, refused)
        account_id = request.params.get("account_id")
        if account_id is None or not _ACCOUNT.fullmatch(account_id):
            return self._no_route(request)
        if account_id != self._account_id:
            return self._refusal(403, refused)
        if request.operation == "create_commands" and self.behaviour.read_only_token:
            return self._refusal(403, refused)
        return None

    def _no_route(self, request: RecordedRequest) -> _Answer:
        if request.method not in ("GET", "POST"):
            return self._refusal(405, ServiceError(Code.METHOD, f"Method {request.method} is not allowed"))
        message = f"Could not route to {request.path}, perhaps your object identifier is invalid?"
        cause = (Code.NO_ROUTE_CAUSE, "No route for that URI")
        return self._refusal(404, ServiceError(Code.NO_ROUTE, message, chain=(cause,)))

    def _list_commands(self, request: RecordedRequest) -> _Answer:
        ignored = self.behaviour.ignored_filters
        parsed = parse_command_query({name: value for name, value in request.query.items() if name not in ignored})
        if isinstance(parsed, list):
            return self._refusal(400, *parsed)
        paging, wanted = parsed
        if self.behaviour.repeat_last_page:
            paging = _last_page(paging, self.state.count(wanted))
        commands = self.state.page(wanted, paging.page, paging.per_page)
        everything = attrs.evolve(wanted, **dict.fromkeys(attrs.asdict(wanted)))
        total = self.state.count(everything if self.behaviour.total_count_ignores_filters else wanted)
        now = self.state.now()
        rows = [list_row(command, now, self.behaviour, self.artifact_url) for command in commands]
        return self._page("commands", rows, paging, total)

    def _list_devices(self, request: RecordedRequest) -> _Answer:
        parsed = parse_device_query(request.query)
        if isinstance(parsed, list):
            return self._refusal(400, *parsed)
        paging, search = parsed
        found = self.state.listed_devices(search)
        total = len(found)
        if self.behaviour.repeat_last_page:
            paging = _last_page(paging, total)
        if self.behaviour.total_count_ignores_filters and search is not None:
            total = len(self.state.listed_devices())
        first = (paging.page - 1) * paging.per_page
        now = self.state.now()
        rows = [
            device_row(device, self.state.last_seen(device), now, self.behaviour)
            for device in found[first : first + paging.per_page]
        ]
        return self._page("devices", rows, paging, total)

    def _page(self, name: str, rows: Sequence[dict[str, Any]], paging: Paging, total: int) -> _Answer:
        info = result_info(self.behaviour, count=len(rows), page=paging.page, per_page=paging.per_page, total=total)
        empty = self.behaviour.null_when_empty and not rows
        return self._success(None if empty else {name: rows}, info=info)

    def _create_commands(self, request: RecordedRequest) -> _Answer:
        behaviour = self.behaviour
        checked = parse_create(request.body, self.state, behaviour)
        errors, commands = list(checked.errors), list(checked.commands)
        if errors and (behaviour.target_acceptance == "whole" or not commands):
            return self._refusal(400, *errors)
        remaining = self.state.quota.remaining
        if len(commands) > remaining:
            errors.append(ServiceError(behaviour.quota_code, behaviour.quota_message))
            if behaviour.quota_acceptance == "whole" or remaining == 0:
                return self._refusal(behaviour.quota_status, errors[-1])
            commands = commands[:remaining]
        created = [self.state.create(command) for command in commands]
        request.created += tuple(command.id for command in created)
        now = self.state.now()
        rows = alter_rows([create_row(each, now, behaviour) for each in created], behaviour.create_rows)
        return self._success({"commands": rows}, errors=errors)

    def _download(self, request: RecordedRequest, fault: Fault | None) -> _Answer:
        command = self.state.commands.get(request.params["command_id"])
        now = self.state.now().timestamp()
        available = command is not None and command.timeline.uploaded and command.timeline.finished <= now
        if command is None or not available or request.params["filename"] != command.filename:
            return self._refusal(404, ServiceError(Code.NO_ARTIFACT, "Artifact not found"))
        if now >= command.timeline.finished + self.behaviour.retention:
            error = ServiceError(Code.EXPIRED, "Artifact is no longer available")
            return self._refusal(self.behaviour.expired_status, error)
        if self.behaviour.download_redirect is not None:
            headers = {"Location": self.artifact_url(command, signed=True)}
            return _Answer(Reply(status=self.behaviour.download_redirect, headers=headers), processed=True)
        return self._file(command, request, fault)

    def _from_storage(self, request: RecordedRequest, fault: Fault | None) -> _Answer:
        command = self.state.commands.get(request.params.get("command_id", ""))
        if command is None or request.params["filename"] != command.filename:
            return _Answer(Reply(status=404))
        signature = request.query.get("signature", "")
        if not hmac.compare_digest(signature.encode(), self._sign(command.id).encode()):
            return _Answer(Reply(status=403))
        if "Authorization" in request.headers:
            # Object stores reject requests with more than one kind of authentication.
            return _Answer(Reply(status=400))
        hops = request.query.get("hops", "0")
        if hops.isdecimal() and hops != "0":
            location = self.artifact_url(command, signed=True, hops=int(hops) - 1)
            return _Answer(Reply(status=_LATER_HOPS_STATUS, headers={"Location": location}), processed=True)
        return self._file(command, request, fault)

    def _file(self, command: StoredCommand, request: RecordedRequest, fault: Fault | None) -> _Answer:
        artifact = self.artifact(command)
        etag = artifact.etag
        if command.retagged:
            etag = f'{etag[:-1]}-{command.retagged}"'
        reply = file_reply(
            artifact,
            etag=etag,
            modified=artifact.last_modified,
            content_type=artifact.content_type,
            request_headers=heard_headers(fault, request.headers),
            behaviour=damage_behaviour(fault, self.behaviour),
        )
        return _Answer(reply, processed=reply.status != 416)

    def _success(
        self,
        result: Any,
        *,
        info: dict[str, Any] | None = None,
        errors: Sequence[ServiceError] = (),
    ) -> _Answer:
        envelope = success(result, info=info, extra=self.behaviour.unknown_fields)
        envelope["errors"] = [error.row(pointers=self.behaviour.error_pointers) for error in errors]
        return _Answer(json_reply(200, envelope), envelope, processed=True)

    def _refusal(self, status: int, *errors: ServiceError) -> _Answer:
        shown = errors if self.behaviour.every_error else errors[:1]
        envelope = failure(shown, pointers=self.behaviour.error_pointers)
        return _Answer(json_reply(status, envelope), envelope)


def _last_page(paging: Paging, total: int) -> Paging:
    """Return the requested page, or the last one if that is past the end."""
    return Paging(min(paging.page, max(-(-total // paging.per_page), 1)), paging.per_page)

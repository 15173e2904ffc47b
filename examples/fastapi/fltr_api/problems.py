"""Every answer that is no success has one shape: ``error`` for programs, ``message`` for people."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException

from .generated.credits import CreditError


class Problem(BaseModel):
    error: str
    message: str
    # Of a refusal for want of credits: what is left.
    balance: int | None = None


class Refused(Exception):
    """A request that is answered with a problem."""

    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(message)
        self.status, self.error = status, error


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For ``responses=`` of a route: that these answers are problems."""
    return {status: {"model": Problem} for status in (*statuses, 422, 503)}


def install(app: FastAPI) -> None:
    """Let ``app`` answer every error in the one shape."""

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> JSONResponse:
        headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
        return _answer(error.status, Problem(error=error.error, message=str(error)), headers)

    @app.exception_handler(CreditError)
    async def no_credits(_: Request, error: CreditError) -> JSONResponse:
        return _answer(
            error.status, Problem(error=error.verdict, message=str(error), balance=error.balance)
        )

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        # Not the input: it may be a secret, or nothing that JSON can say.
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return _answer(422, Problem(error="invalid", message=f"{place}: {first['msg']}"))

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        names = {400: "bad_request", 404: "not_found", 405: "method_not_allowed"}
        problem = Problem(error=names.get(error.status_code, "refused"), message=error.detail)
        return _answer(error.status_code, problem, dict(error.headers or {}))

    @app.exception_handler(DBAPIError)
    async def database(_: Request, error: DBAPIError) -> JSONResponse:
        state = getattr(error.orig, "sqlstate", None)
        # No connection, a server that stops, too many clients, deadlock, serialization: send it again.
        if state is None or state[:2] in {"08", "53", "57", "40", "55"}:
            return _answer(503, UNAVAILABLE, {"Retry-After": "1"})
        raise error

    @app.exception_handler(TimeoutError)
    async def slow(_: Request, __: TimeoutError) -> JSONResponse:
        return _answer(503, UNAVAILABLE, {"Retry-After": "5"})


UNAVAILABLE = Problem(error="unavailable", message="a database does not answer; try again")


def _answer(status: int, problem: Problem, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(problem.model_dump(exclude_none=True), status, headers)

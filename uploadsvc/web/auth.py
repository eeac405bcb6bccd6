"""Who is asking: a bearer token in, a user id out, or Unauthorized.

flask-jwt-extended reads and checks the token. It may come as ``Authorization: Bearer``, and
as ``?token=`` where a view allows it: a browser's EventSource cannot set headers.
"""

from __future__ import annotations

from datetime import timedelta

from flask import Flask
from flask_jwt_extended import (
    JWTManager,
    create_access_token,
    get_jwt,
    get_jwt_identity,
    verify_jwt_in_request,
)
from flask_jwt_extended.exceptions import JWTExtendedException
from jwt.exceptions import PyJWTError

from uploadsvc.errors import AccessDenied, Unauthorized
from uploadsvc.settings import Settings

MAX_USER_ID = 255  # characters, as the tables have it
MODERATOR = "moderator"
CHALLENGE = 'Bearer realm="uploadsvc"'


def configure(app: Flask, settings: Settings, secret: str) -> None:
    app.config.update(
        JWT_SECRET_KEY=secret,
        JWT_ALGORITHM="HS256",
        JWT_TOKEN_LOCATION=["headers"],
        JWT_QUERY_STRING_NAME="token",
        JWT_IDENTITY_CLAIM=settings.jwt_user_claim,
        # RFC 7519 wants a string; existing Express backends sign numbers (user_id below).
        JWT_VERIFY_SUB=False,
        JWT_DECODE_AUDIENCE=settings.jwt_audience or None,
        JWT_ENCODE_AUDIENCE=settings.jwt_audience or None,
        JWT_DECODE_ISSUER=settings.jwt_issuer or None,
        JWT_ENCODE_ISSUER=settings.jwt_issuer or None,
    )
    JWTManager(app)


def user_id(*, in_query: bool = False) -> str:
    """The user of the request's token. Raises Unauthorized."""
    locations = ["headers", "query_string"] if in_query else ["headers"]
    try:
        verify_jwt_in_request(locations=locations)
        identity = get_jwt_identity()
    except (JWTExtendedException, PyJWTError, ValueError, KeyError) as error:
        # ValueError and KeyError: parts of a token that are no JSON, base64 or known key.
        raise Unauthorized from error
    if isinstance(identity, bool) or not isinstance(identity, int | str):
        raise Unauthorized
    user = str(identity)
    if not user or len(user) > MAX_USER_ID:
        raise Unauthorized
    return user


def moderator() -> str:
    """The user of a token whose claim ``role`` is, or has in its list, ``moderator``.

    Raises Unauthorized, or AccessDenied for anybody else.
    """
    user = user_id()
    role = get_jwt().get("role")
    roles = role if isinstance(role, list) else [role]
    if MODERATOR not in roles:
        raise AccessDenied
    return user


def issue(user: str, *, expires_s: float, role: str | None = None) -> str:
    """An access token of our own. Needs an application context."""
    claims = {"role": role} if role else None
    token: str = create_access_token(
        user, expires_delta=timedelta(seconds=expires_s), additional_claims=claims
    )
    return token

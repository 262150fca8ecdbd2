"""Settings of the project, from environment variables. They are secure unless DEBUG is on."""

from __future__ import annotations

import logging
import os
import re
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from config.database import database_settings
from config.env_file import read_env_file
from config.logs import configure_logs
from config.sentry import configure_sentry
from engagement import __version__

BASE_DIR = Path(__file__).resolve().parent.parent

_given = frozenset(os.environ)
read_env_file(BASE_DIR / ".env")


def text(name: str, *, default: str = "") -> str:
    """Read a text as it is written; an empty one means the default.

    `environ.Env.str` would take a value that begins with a dollar sign for the name of another variable.
    """
    return os.environ.get(name, "") or default


def listed(name: str) -> list[str]:
    """Read a list: items with commas between them."""
    return [item.strip() for item in text(name).split(",") if item.strip()]


def flag(name: str, *, default: bool = False) -> bool:
    """Read a boolean. Other values are an error: a typing error must not turn off a safeguard."""
    value = text(name).strip().lower()
    if value in {"", "on", "true", "yes", "1", "off", "false", "no", "0"}:
        return value in {"on", "true", "yes", "1"} if value else default
    raise ImproperlyConfigured(f"{name} must be on or off, not {value!r}.")


def port(name: str, *, default: int) -> int:
    """Read the number of a port."""
    value = text(name).strip() or str(default)
    if not (re.fullmatch("[0-9]{1,5}", value) and 1 <= int(value) <= 65_535):  # noqa: PLR2004
        raise ImproperlyConfigured(f"{name} must be a number from 1 to 65535, not {value[:20]!r}.")
    return int(value)


DEBUG = flag("DEBUG")
DEBUG_IS_UNEXPECTED = DEBUG and "DEBUG" not in _given and "DATABASE_URL" in _given
"""The environment describes a real server, and a leftover .env has switched DEBUG on."""

SECRET_KEY = text("SECRET_KEY")
# Former keys: sessions go on, and a message that is delivered again is still recognised.
SECRET_KEY_FALLBACKS = listed("SECRET_KEY_FALLBACKS")
if not SECRET_KEY:
    raise ImproperlyConfigured(
        "SECRET_KEY is not set. Put a long random string into the environment"
        " (in development, `make install` writes a .env that has one)."
    )

ALLOWED_HOSTS = listed("ALLOWED_HOSTS") or (["localhost", "127.0.0.1"] if DEBUG else [])
CSRF_TRUSTED_ORIGINS = listed("CSRF_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    "engagement",
    # Before the admin, because it overrides its templates.
    "config.admin.apps.ThemeConfig",
    "unfold.contrib.filters",
    "config.admin.apps.AdminConfig",
    "config.admin.apps.StaffConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "config.admin.apps.LoginThrottlingConfig",
]

MIDDLEWARE = [
    "engagement.api.middleware.HealthMiddleware",
    "engagement.api.middleware.JsonErrorsMiddleware",
    "engagement.api.middleware.DeadlineMiddleware",
    "engagement.api.middleware.ChunkedBodyMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    # In place of Django's LocaleMiddleware; it needs the session and the account.
    "config.admin.preferences.PreferencesMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    # The last: after too many failed attempts, it replaces the login's response.
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"

# Not an installed app: config.urls says why.
NINJA_DIR = Path(str(getattr(find_spec("ninja"), "origin", ""))).parent

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "config" / "templates", NINJA_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {
    "default": database_settings(
        url=text("DATABASE_URL"),
        name=text("DATABASE_NAME"),
        behind_pooler=flag("DATABASE_BEHIND_POOLER"),
        development=DEBUG,
    )
}

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

# The language of commands, logs and the API, and of pages where neither account nor browser name another.
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("pt-br", "Português (Brasil)")]
LOCALE_PATHS = [BASE_DIR / "config" / "locale"]
TIME_ZONE = "UTC"
USE_TZ = True
FORMAT_MODULE_PATH = "config.formats"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATICFILES_DIRS = [NINJA_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    # Without hashes in the names: a page must work even if `collectstatic` did not run after an update.
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}
# Development does not need `collectstatic`.
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = DEBUG

# WhatsApp's webhooks have up to 3 MB.
DATA_UPLOAD_MAX_MEMORY_SIZE = 4 * 1024 * 1024

SECURE_SSL_REDIRECT = not DEBUG
SECURE_HSTS_SECONDS = 0 if DEBUG else 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = not DEBUG
SECURE_HSTS_PRELOAD = not DEBUG
SESSION_COOKIE_SECURE = not DEBUG
CSRF_COOKIE_SECURE = not DEBUG
# A session of the evening has expired in the morning.
SESSION_COOKIE_AGE = 12 * 60 * 60
X_FRAME_OPTIONS = "DENY"
AXES_CLIENT_IP_CALLABLE = "config.admin.login.client_address"
if flag("BEHIND_TLS_PROXY"):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    AXES_CLIENT_IP_CALLABLE = "config.admin.login.address_behind_proxy"
# After a login with a foreign or no `next`.
LOGIN_REDIRECT_URL = "admin:index"

# One-time links for new and forgotten passwords.
PASSWORD_RESET_TIMEOUT = 3 * 24 * 60 * 60
# Without a host no mail is sent: administrators copy the links.
EMAIL_HOST = text("EMAIL_HOST")
EMAIL_PORT = port("EMAIL_PORT", default=587)
EMAIL_HOST_USER = text("EMAIL_HOST_USER")
EMAIL_HOST_PASSWORD = text("EMAIL_HOST_PASSWORD")
EMAIL_USE_SSL = flag("EMAIL_USE_SSL")
EMAIL_USE_TLS = flag("EMAIL_USE_TLS", default=not EMAIL_USE_SSL)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = text("DEFAULT_FROM_EMAIL")
if EMAIL_USE_SSL and EMAIL_USE_TLS:
    raise ImproperlyConfigured("EMAIL_USE_SSL and EMAIL_USE_TLS exclude each other: switch one of them off.")
if EMAIL_HOST and not DEFAULT_FROM_EMAIL:
    raise ImproperlyConfigured("EMAIL_HOST needs DEFAULT_FROM_EMAIL, the address from which mail is sent.")

# Pages load from this server only, and inline scripts and style sheets are forbidden. The theme's Alpine.js
# evaluates expressions in its templates, which needs 'unsafe-eval', and sets style attributes.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'", "'unsafe-eval'"],
        "style-src": ["'self'"],
        "style-src-attr": ["'unsafe-inline'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}

UNFOLD = {
    "SITE_TITLE": "Engagement",
    "SITE_HEADER": "Engagement",
    "SITE_SYMBOL": "waving_hand",
    "SITE_URL": None,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "config.admin.site.icon"}],
    "COLORS": "config.admin.site.no_colors",
    "STYLES": ["config.admin.site.style_sheet"],
    "SCRIPTS": ["config.admin.site.script"],
    "SIDEBAR": {"navigation": "config.admin.site.navigation"},
    "ACCOUNT": {"navigation": "config.admin.site.account_links"},
    "LOGIN": {"form": "config.admin.login.LoginForm"},
    "DASHBOARD_CALLBACK": "engagement.admin.dashboard.page.dashboard",
}

# Failed logins are counted in the database, because the server's processes share no cache. They are counted
# by name and address together, so that nobody can lock a colleague out from another address.
AXES_HANDLER = "config.admin.login.LoginThrottle"
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_ON_SUCCESS = True
# An attempt during the lockout does not extend it.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_LOCKOUT_TEMPLATE = "locked_out.html"
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False

LOGGING_CONFIG = None
configure_logs(level=text("LOG_LEVEL", default="INFO"), log_format=text("LOG_FORMAT", default="auto"))
configure_sentry(text("SENTRY_DSN"), release=f"engagement@{__version__}")
if DEBUG_IS_UNEXPECTED:
    logging.getLogger("config").warning(
        "DEBUG is on because %s says so; if this is production, delete that file.", BASE_DIR / ".env"
    )

# As text: engagement.conf has the names, defaults and bounds.
globals().update({name: text for name, text in os.environ.items() if name.startswith("ENGAGEMENT_")})

# How messages leave. Which of these a backend needs, `manage.py check` says.
WHATSAPP_API_URL = text("WHATSAPP_API_URL")
WHATSAPP_API_VERSION = text("WHATSAPP_API_VERSION")
WHATSAPP_PHONE_NUMBER_ID = text("WHATSAPP_PHONE_NUMBER_ID")
WHATSAPP_ACCESS_TOKEN = text("WHATSAPP_ACCESS_TOKEN")
WHATSAPP_TEMPLATES = text("WHATSAPP_TEMPLATES")
# How WhatsApp reports receipts and messages: /webhooks/whatsapp is off without the secret.
WHATSAPP_APP_SECRET = text("WHATSAPP_APP_SECRET")
WHATSAPP_VERIFY_TOKEN = text("WHATSAPP_VERIFY_TOKEN")
EVOLUTION_URL = text("EVOLUTION_URL")
EVOLUTION_API_KEY = text("EVOLUTION_API_KEY")
EVOLUTION_INSTANCE = text("EVOLUTION_INSTANCE")

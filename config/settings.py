"""Settings of the project. Secure unless DEBUG is switched on; every value comes from the environment."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured

from config.database import database_settings
from config.logs import configure_logs

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
environ.Env.read_env(BASE_DIR / ".env")


def flag(name: str, *, default: bool = False) -> bool:
    """A yes-or-no variable, read strictly: a typing error must not switch a safeguard off."""
    text = env.str(name, default="").strip().lower()
    if text in {"", "on", "true", "yes", "1", "off", "false", "no", "0"}:
        return text in {"on", "true", "yes", "1"} if text else default
    raise ImproperlyConfigured(f"{name} must be on or off, not {text!r}.")


DEBUG = flag("DEBUG")

SECRET_KEY = env.str("SECRET_KEY", default="")
if not SECRET_KEY:
    raise ImproperlyConfigured(
        "SECRET_KEY is not set. Put a long random string into the environment"
        " (in development, `make install` writes a .env that has one)."
    )

ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1"] if DEBUG else [])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "engagement",
    # Before the admin, whose templates it replaces.
    "config.admin.app_configs.ThemeConfig",
    "unfold.contrib.filters",
    "config.admin.app_configs.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "config.admin.app_configs.LoginThrottlingConfig",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    # The last: it answers in place of the login when there were too many.
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "config" / "templates"],
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
        url=env.str("DATABASE_URL", default=""),
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

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
FORMAT_MODULE_PATH = "config.formats"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    # Names without a hash: a page must not fail because `collectstatic` was forgotten after an update.
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}
# In development without `collectstatic`.
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = DEBUG

SECURE_SSL_REDIRECT = not DEBUG
SECURE_HSTS_SECONDS = 0 if DEBUG else 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = not DEBUG
SECURE_HSTS_PRELOAD = not DEBUG
SESSION_COOKIE_SECURE = not DEBUG
CSRF_COOKIE_SECURE = not DEBUG
# Whoever leaves the screen alone at night is logged out in the morning.
SESSION_COOKIE_AGE = 12 * 60 * 60
X_FRAME_OPTIONS = "DENY"
if flag("BEHIND_TLS_PROXY"):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    AXES_CLIENT_IP_CALLABLE = "config.admin.visitors.address_behind_proxy"

# Everything comes from this server. The theme's Alpine.js evaluates what stands in its templates, hence
# 'unsafe-eval', and sets style attributes; neither scripts nor style sheets may stand in a page.
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
    "SITE_SUBHEADER": "One polite goodbye, then silence",
    "SITE_SYMBOL": "waving_hand",
    "SITE_URL": None,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "config.admin.theme.icon"}],
    "COLORS": "config.admin.theme.no_colors",
    "STYLES": ["config.admin.theme.style_sheet"],
    "SCRIPTS": ["config.admin.theme.script"],
    "SIDEBAR": {"navigation": "config.admin.theme.navigation"},
    "LOGIN": {"form": "config.admin.login.LoginForm"},
    "DASHBOARD_CALLBACK": "engagement.admin.dashboard_page.dashboard",
}

# In the database, which all processes of the server share; there is no cache that they do. By name and
# address together: from elsewhere nobody can lock a colleague out.
AXES_HANDLER = "config.admin.login.LoginThrottle"
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_ON_SUCCESS = True
# Whoever tries again too soon does not wait longer for it.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_LOCKOUT_TEMPLATE = "locked_out.html"
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False

LOGGING_CONFIG = None
configure_logs(level=env.str("LOG_LEVEL", default="INFO"), log_format=env.str("LOG_FORMAT", default="auto"))

# As text: engagement.conf knows names, defaults and bounds.
globals().update({name: text for name, text in os.environ.items() if name.startswith("ENGAGEMENT_")})

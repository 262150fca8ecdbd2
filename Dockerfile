# One image for the web server, the daily job and the sender; the command decides.
#
#     docker build --tag engagement .
#     docker run --env-file engagement.env engagement manage.py run_engagement_daily
#
# --env-file takes values literally, quotes too.
#
# Python's slim image; everything is installed by pip from the pinned requirements.
FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
COPY requirements/ /build/requirements/
RUN python -m venv /srv/venv \
 && /srv/venv/bin/pip install --no-cache-dir --require-hashes --requirement /build/requirements/production.txt

FROM python:3.13-slim
ENV PATH=/srv/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 LOG_FORMAT=json
RUN useradd --uid 10001 --home-dir /srv/engagement --no-create-home --shell /usr/sbin/nologin engagement \
 && install --directory --owner engagement /var/lib/engagement
COPY --from=build /srv/venv /srv/venv
WORKDIR /srv/engagement
COPY manage.py pyproject.toml ./
COPY config/ config/
COPY engagement/ engagement/
# Static files belong to the image. The command needs settings, and no database.
RUN SECRET_KEY=build DATABASE_URL=postgresql://build@localhost/build python manage.py collectstatic --no-input
# A number: Kubernetes does not know by a name that it is not root's.
USER 10001
EXPOSE 8000
# /healthz needs neither the database nor a known host name.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
# No shell: signals reach the program. Arguments that begin with manage.py run a command instead.
ENTRYPOINT ["python"]
CMD ["-m", "gunicorn", "config.wsgi", "--bind", "0.0.0.0:8000", "--workers", "2", "--threads", "8"]

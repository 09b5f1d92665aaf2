# The server side in one image: `python -m api`, `python -m workers`, `python -m api.keys`.
# Neither compilers nor pip are in what runs; the user has no rights beyond its own folder.

FROM python:3.13-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
RUN python -m venv /opt/perdure
WORKDIR /src
COPY . .
RUN /opt/perdure/bin/pip install -c constraints.txt './sdk[cli]' . \
    && /opt/perdure/bin/python -m compileall -q /opt/perdure/lib \
    && /opt/perdure/bin/pip uninstall --yes pip

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/perdure --create-home perdure
COPY --from=build /opt/perdure /opt/perdure
ENV PATH=/opt/perdure/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PERDURE_STATE_DIR=/var/lib/perdure \
    PERDURE_HOST=0.0.0.0 \
    PERDURE_PORT=8787 \
    PERDURE_LOG_FORMAT=json
USER 10001
WORKDIR /var/lib/perdure
EXPOSE 8787
# Alive, not ready: a database or a Temporal that is away is no reason to be restarted.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8787/live', timeout=2)"]
CMD ["python", "-m", "api"]

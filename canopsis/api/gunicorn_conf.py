"""What gunicorn is told beside its command line: threads, limits, an access log without keys.

``gunicorn -c python:canopsis.api.gunicorn_conf``; the address, the number of workers and the log
files stand in the command of ``etc/supervisord.d/webserver.conf``.
"""

from canopsis.api.limits import THREADS as _THREADS
from canopsis.heap import give_back as _give_back

worker_class = "canopsis.api.worker.Worker"
threads = _THREADS
# Well below the usual 1024 open files of a process: each has its connections to broker and database too.
worker_connections = 500
timeout = 30
graceful_timeout = 20
keepalive = 30
limit_request_line = 8190
limit_request_fields = 100
limit_request_field_size = 8190
max_requests = 0
logger_class = "canopsis.api.access_log.AccessLogger"
access_log_format = '%(h)s %(t)s "%(r)s" %(s)s %(b)s %(M)sms'
control_socket_disable = True


def post_fork(_server: object, _worker: object) -> None:
    """Bound what a worker keeps of large requests."""
    _give_back()

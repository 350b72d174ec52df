"""What gunicorn is told beside its command line: threads, time-outs, an access log without keys.

``gunicorn -c python:canopsis.api.gunicorn_conf``; the address, the number of workers and the log
files stand in the command of ``etc/supervisord.d/webserver.conf``.
"""

worker_class = "gthread"
threads = 8
timeout = 30
graceful_timeout = 20
keepalive = 30
limit_request_line = 8190
max_requests = 0
logger_class = "canopsis.api.access_log.AccessLogger"
access_log_format = '%(h)s %(t)s "%(r)s" %(s)s %(b)s %(M)sms'
control_socket_disable = True

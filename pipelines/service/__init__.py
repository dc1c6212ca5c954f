"""`diarize serve`: enrolment, verification, identification and recordings over HTTP (docs/service.md).

In order: `access` (who may do what), `work` (what is done for a request), `http` (requests and answers),
`application` (the parts as one ASGI application), `server` (uvicorn around it, start and graceful stop).
"""

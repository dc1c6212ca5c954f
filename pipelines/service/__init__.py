"""`diarize serve`: enrolment, verification, identification and recordings over HTTP (docs/service.md).

In order: `access` (who may do what), `work` (what is done for a request), `streams` (sound that arrives piece by
piece), `http` (requests and answers), `application` (the parts as one ASGI application), `server` (uvicorn around it,
start and graceful stop), `processes` (several of them behind one port).
"""

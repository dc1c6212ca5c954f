"""What the service does for a request, without HTTP: settings, queues, audio, people, decisions, jobs.

In order: `settings`, `pools` (bounded queues of threads), `refusals` (stable codes), `uploads` (bytes -> decoded sound,
in the confined child), `voices` (models, libraries and searches), `people` (enrolment, listing, deletion), `phrases`
(challenges), `decisions` (verify, identify; where reasons are collected), `recordings` (the main job as jobs),
`webhooks`, `retention`, `answers` (repeated requests), `voice_service` (all of it together).
"""

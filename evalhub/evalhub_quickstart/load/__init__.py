"""The load test: streamed requests at several levels of concurrency, with the times of tokens and the rates of each level.

Closed loop: each worker sends its next request when the last one is answered, so that an endpoint that slows down also gets
fewer requests.
"""

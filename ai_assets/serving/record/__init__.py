"""The record of every answer, and of the outcomes that callers send back later.

One request is one entry, however many rows it has: `answers` says what is kept, `store` where,
`recorder` when. An answer is given once its record is durable, unless the product asks otherwise.
"""

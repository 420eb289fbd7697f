#!/usr/bin/python3
"""Makes openapi.json: of Discord's description of its HTTP API, the operations that ticketd may use.

  trim_openapi.py DISCORD-OPENAPI.json >openapi.json

The whole description is https://github.com/discord/discord-api-spec (specs/openapi.json, MIT: openapi.LICENSE). Kept of
each operation: its name, its parameters and the schema of its JSON body; and the schemas that these lead to. The schema
of a multipart body is the JSON one with its files, so it is left out, like answers, other content types and texts.
"""

import json
import sys

KEPT = """
GET    /gateway
GET    /gateway/bot
GET    /users/@me
GET    /users/{user_id}
POST   /users/@me/channels
GET    /applications/@me
GET    /oauth2/applications/@me
GET    /applications/{application_id}/guilds/{guild_id}/commands
PUT    /applications/{application_id}/guilds/{guild_id}/commands
POST   /interactions/{interaction_id}/{interaction_token}/callback
POST   /webhooks/{webhook_id}/{webhook_token}
GET    /webhooks/{webhook_id}/{webhook_token}/messages/@original
PATCH  /webhooks/{webhook_id}/{webhook_token}/messages/@original
DELETE /webhooks/{webhook_id}/{webhook_token}/messages/@original
GET    /webhooks/{webhook_id}/{webhook_token}/messages/{message_id}
PATCH  /webhooks/{webhook_id}/{webhook_token}/messages/{message_id}
DELETE /webhooks/{webhook_id}/{webhook_token}/messages/{message_id}
GET    /channels/{channel_id}
PATCH  /channels/{channel_id}
DELETE /channels/{channel_id}
GET    /channels/{channel_id}/messages
POST   /channels/{channel_id}/messages
GET    /channels/{channel_id}/messages/{message_id}
PATCH  /channels/{channel_id}/messages/{message_id}
DELETE /channels/{channel_id}/messages/{message_id}
POST   /channels/{channel_id}/messages/{message_id}/threads
POST   /channels/{channel_id}/threads
GET    /channels/{channel_id}/threads/archived/public
GET    /channels/{channel_id}/threads/archived/private
GET    /channels/{channel_id}/thread-members
GET    /channels/{channel_id}/thread-members/{user_id}
PUT    /channels/{channel_id}/thread-members/{user_id}
DELETE /channels/{channel_id}/thread-members/{user_id}
PUT    /channels/{channel_id}/thread-members/@me
POST   /channels/{channel_id}/typing
GET    /guilds/{guild_id}
GET    /guilds/{guild_id}/channels
GET    /guilds/{guild_id}/roles
GET    /guilds/{guild_id}/members/{user_id}
GET    /guilds/{guild_id}/threads/active
"""
TEXTS = ("description", "title", "example", "examples", "externalDocs", "x-discord-union")
PREFIX = "#/components/schemas/"


def without_texts(node):
    """A schema without what only people read. A property may well be named `title`."""
    if isinstance(node, list):
        return [without_texts(child) for child in node]
    if not isinstance(node, dict):
        return node
    kept = {}
    for key, child in node.items():
        if key == "properties":
            kept[key] = {name: without_texts(schema) for name, schema in child.items()}
        elif key not in TEXTS:
            kept[key] = without_texts(child)
    return kept


def references(node):
    if isinstance(node, list):
        for child in node:
            yield from references(child)
    elif isinstance(node, dict):
        for key, child in node.items():
            if key == "$ref":
                yield child.removeprefix(PREFIX)
            else:
                yield from references(child)


def trim(whole):
    paths = {}
    for line in KEPT.split("\n"):
        if not line:
            continue
        method, path = line.split()
        item = whole["paths"][path]
        operation = item[method.lower()]
        kept = {
            "operationId": operation["operationId"],
            "parameters": item.get("parameters", []) + operation.get("parameters", []),
        }
        body = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if body:
            kept["requestBody"] = body["schema"]
        # Operations that say `security: {}` too can be called without the bot's token.
        kept["open"] = {} in operation.get("security", [{}])
        paths.setdefault(path, {})[method.lower()] = without_texts(kept)

    schemas, wanted = {}, list(references(paths))
    while wanted:
        name = wanted.pop()
        if name not in schemas:
            schemas[name] = without_texts(whole["components"]["schemas"][name])
            wanted.extend(references(schemas[name]))
    return {
        "from": "https://github.com/discord/discord-api-spec, by trim_openapi.py",
        "paths": paths,
        "components": {"schemas": {name: schemas[name] for name in sorted(schemas)}},
    }


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        json.dump(trim(json.load(file)), sys.stdout, indent=1, ensure_ascii=False)
    print()

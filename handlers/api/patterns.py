"""The patterns of text fields, and what each says to people."""

from __future__ import annotations

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
DNS_LABEL = f"^{_LABEL}$"
DNS_NAME = rf"^{_LABEL}(\.{_LABEL})*$"
DNS_NAME_OR_NONE = rf"^({_LABEL}(\.{_LABEL})*)?$"
LABEL_VALUE = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
ROLE_NAME = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
SERVED_NAME = r"^[A-Za-z0-9]?[-A-Za-z0-9._/:]*$"
MODEL_URI = r"^([a-z][a-z0-9+.-]*://[^\s\x00]+)?$"
CACHE_URI = rf"^(hostpath:///[^\s\x00]*|pvc://{_LABEL}(\.{_LABEL})*(/[^\s\x00]*)?)?$"
CLAIM_URI = rf"^pvc://{_LABEL}([.]{_LABEL})*(/.*)?$"
ARTIFACT_URI = r"^[a-z][a-z0-9+.-]*://[^\s\x00]+$"
ADAPTER_NAME = r"^[A-Za-z0-9][-A-Za-z0-9._/:]*$"
IMAGE = r"^[^\s\x00]*$"
ABSOLUTE_PATH = r"^/[^\x00]*$"
DURATION = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"
BASE_URL = r"^https?://[^\s/?#@]+(/[^\s?#]*)?$"
HEADER_NAME = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
METRIC_NAME = r"^[A-Za-z_][-A-Za-z0-9_.:/]*$"
QUANTITY = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,2})?$"
SHARE = r"^(100|[0-9]{1,2})%$"
VARIABLE = r"^[ -<>-~]+$"
PORT_NAME = r"^([0-9]+-)*[0-9]*[a-z]([a-z0-9]|-[a-z0-9])*$"
FIELD_PATH = (
    r"^(metadata\.(name|namespace|uid|(labels|annotations)\['[^'\x00]+'\])|"
    r"spec\.(nodeName|serviceAccountName)|status\.(hostIP|podIP)s?)$"
)
FOR_A_PROCESS = r"^[^\x00]*$"
_STEP = r"([^./\x00][^/\x00]*|\.([^./\x00][^/\x00]*)?|\.\.[^/\x00]+)"
PATH_BELOW = rf"^({_STEP}(/+{_STEP})*/*)?$"

MEANINGS = {
    DNS_LABEL: "expected lower case letters, digits and '-', beginning and ending with a letter or digit",
    DNS_NAME: "expected lower case letters, digits, '-' and '.', beginning and ending with a letter or digit",
    DNS_NAME_OR_NONE: "expected lower case letters, digits, '-' and '.', beginning and ending with a letter or digit, "
    "or nothing",
    LABEL_VALUE: "expected letters, digits, '-', '_' and '.', beginning and ending with a letter or digit, or nothing",
    ROLE_NAME: "expected lower case letters, digits and '-', beginning with a letter, not ending with '-'",
    SERVED_NAME: "expected letters, digits, '-', '.', '_', '/' and ':'",
    MODEL_URI: "expected scheme://… without spaces, e.g. file:///models/qwen.gguf",
    CACHE_URI: "expected hostpath:///<folder> or pvc://<claim>/<folder>",
    ARTIFACT_URI: "expected scheme://… without spaces, e.g. hf://org/adapter",
    ADAPTER_NAME: "expected letters, digits, '-', '.', '_', '/' and ':', beginning with a letter or digit",
    IMAGE: "expected the name of an image, without spaces",
    ABSOLUTE_PATH: "expected a path from the root on, e.g. /models/qwen",
    DURATION: "expected numbers with the units ms, s, m or h, e.g. 90s or 1h30m",
    BASE_URL: "expected http(s)://host/… without credentials, query or fragment",
    HEADER_NAME: "expected the name of an HTTP header",
    METRIC_NAME: "expected letters, digits, '_', '-', '.', ':' and '/', beginning with a letter or '_'",
    QUANTITY: "expected an amount such as 2, 500m or 16Gi",
    SHARE: "expected a share from 0% to 100%",
    VARIABLE: "expected printable characters of ASCII without '='",
    PORT_NAME: "expected lower case letters, digits and single '-' between them, with a letter at least",
    FIELD_PATH: "expected metadata.name, metadata.namespace, metadata.uid, metadata.labels['…'], "
    "metadata.annotations['…'], spec.nodeName, spec.serviceAccountName, status.hostIP or status.podIP",
    PATH_BELOW: "expected a path below the volume: not from the root on, and without '..'",
    FOR_A_PROCESS: "expected text without the character NUL: no process can be given one",
}

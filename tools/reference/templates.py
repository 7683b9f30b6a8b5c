"""Writes tests/cases/templates/*.json: templates, contexts and what transformers' own Jinja environment renders.

Run where transformers and jinja2 are installed: python3 tools/reference/templates.py OUTPUT_FOLDER
Each case: name, template, context, and either `expected` or `error: true` where the reference refuses.
"""

import datetime
import json
import pathlib
import sys

import jinja2
import transformers
from transformers.utils.chat_template_utils import _compile_jinja_template

NOW = datetime.datetime(2024, 7, 6, 13, 5, 9)  # a Saturday; tests set their clock to it

TEXT_CHAT = [
    {"role": "system", "content": "You are terse. "},
    {"role": "user", "content": " What is 2 + 2?\n"},
    {"role": "assistant", "content": "4"},
    {"role": "user", "content": "Danke sch\u00f6n, \"friend\" \u2014 \U0001f600"},
]
IMAGE_CHAT = [
    {"role": "user", "content": [{"type": "text", "text": "What is this?"}, {"type": "image"}, {"type": "image", "url": "a.png"}]},
    {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]},
    {"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "And now?"}, {"type": "text", "text": "Look."}]},
]
TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "Weather of a city <now>", "parameters": {
        "type": "object", "properties": {"city": {"type": "string", "description": "e.g. Z\u00fcrich"},
                                         "days": {"type": "integer", "enum": [1, 3, 7], "default": 3}},
        "required": ["city"]}}},
    {"type": "function", "function": {"name": "now", "description": "", "parameters": {"type": "object", "properties": {}}}},
]
TOOL_CHAT = [
    {"role": "user", "content": "Weather in Bern?"},
    {"role": "assistant", "content": None, "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Bern", "days": 1}}}]},
    {"role": "tool", "tool_call_id": "call_1", "content": "{\"rain\": true}"},
    {"role": "assistant", "content": "<think>\nIt rains.\n</think>\n\nRain."},
    {"role": "user", "content": "Thanks"},
]
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": None}


def context(messages, **more):
    return {"messages": messages, "add_generation_prompt": True, **TOKENS, **more}


CASES = {}


def case(group, name, template, **values):
    CASES.setdefault(group, []).append({"name": name, "template": template, "context": values})


# --- chats: the constructs of published templates, written anew

CHATML = """{%- for message in messages -%}
    {{- '<|im_start|>' + message.role + '\\n' + message.content | trim + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|im_start|>assistant\\n' -}}
{%- endif -%}"""
case("chats", "chatml", CHATML, **context(TEXT_CHAT))
case("chats", "chatml without prompt", CHATML, **{**context(TEXT_CHAT), "add_generation_prompt": False})

CHATML_DEFAULT_SYSTEM = """{% if messages[0]['role'] == 'system' %}
{% set system = messages[0]['content'] %}{% set rest = messages[1:] %}
{% else %}
{% set system = 'You are helpful.' %}{% set rest = messages %}
{% endif %}
{{ bos_token }}<|system|>{{ system }}
{% for m in rest %}
    {% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{ raise_exception('roles must alternate: ' ~ loop.index) }}
    {% endif %}
<|{{ m.role }}|>
{{ m.content.strip() }}{% if not loop.last %}{{ eos_token }}{% endif %}

{% endfor %}
{%- if add_generation_prompt %}<|assistant|>{% endif %}
"""
case("chats", "default system", CHATML_DEFAULT_SYSTEM, **context(TEXT_CHAT))
case("chats", "default system absent", CHATML_DEFAULT_SYSTEM, **context(TEXT_CHAT[1:]))
case("chats", "roles do not alternate", CHATML_DEFAULT_SYSTEM, **context(TEXT_CHAT[2:]))

IMAGES_FIRST = """{% for message in messages %}{{ message.role | upper }}: {# pictures first #}
{%- for part in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\\n' }}{% endfor %}
{%- for part in message['content'] | selectattr('type', 'in', ['video', 'audio']) %}<{{ part.type }}>{% endfor %}
{%- for part in message['content'] | rejectattr('text', 'undefined') %}
{%- if message.role == 'assistant' %}{% generation %}{{ part.text + ' ' }}{% endgeneration %}{% else %}{{ part['text'] + ' ' }}{% endif %}
{%- endfor %}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"""
case("chats", "images first", IMAGES_FIRST, **context(IMAGE_CHAT))

VISION_IDS = """{% set images = namespace(count=0) %}{% set videos = namespace(count=0) %}
{%- for message in messages %}<|im_start|>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}{% else %}
{% for part in message['content'] %}
{% if part['type'] == 'image' or 'image' in part or 'image_url' in part %}
{% set images.count = images.count + 1 %}
{% if add_vision_id %}Picture {{ images.count }}: {% endif %}<|vision_start|><|image_pad|><|vision_end|>
{%- elif part['type'] == 'video' or 'video' in part %}
{%- set videos.count = videos.count + 1 %}
{%- if add_vision_id %}Video {{ videos.count }}: {% endif %}<|video_pad|>
{%- elif 'text' in part %}{{ part['text'] }}{% endif %}
{% endfor %}{% endif %}<|im_end|>
{% endfor %}
{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
case("chats", "vision ids", VISION_IDS, **context(IMAGE_CHAT, add_vision_id=True))
case("chats", "vision without ids", VISION_IDS, **context(IMAGE_CHAT))
case("chats", "vision with text", VISION_IDS, **context(TEXT_CHAT))

DATED_TOOLS = """{{- bos_token }}
{%- if custom_tools is defined %}{%- set tools = custom_tools %}{%- endif %}
{%- if not tools_in_user_message is defined %}{%- set tools_in_user_message = true %}{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}{%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}{%- set date_string = "26 Jul 2024" %}{%- endif %}
{%- endif %}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}{%- set messages = messages[1:] %}
{%- else %}{%- set system_message = "" %}{%- endif %}
{{- "<|start|>system<|end|>\\n\\n" }}
{%- if tools is not none %}{{- "Environment: ipython\\n" }}{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" + system_message }}
{%- if tools is not none and tools_in_user_message %}
    {%- if messages | length != 0 %}
        {%- set first = messages[0]['content']|trim %}{%- set messages = messages[1:] %}
    {%- else %}{{- raise_exception("no first user message") }}{%- endif %}
    {{- '<|start|>user<|end|>\\n\\n' }}
    {%- for t in tools %}{{- t | tojson(indent=4) }}{{- "\\n\\n" }}{%- endfor %}
    {{- first + "<|eot|>" }}
{%- endif %}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start|>' + message['role'] + '<|end|>\\n\\n' + message['content'] | trim + '<|eot|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}{{- raise_exception("one tool call at once") }}{%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '{"name": "' + tool_call.name + '", "parameters": ' }}{{- tool_call.arguments | tojson }}{{- "}<|eot|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start|>ipython<|end|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}{{- message.content | tojson }}
        {%- else %}{{- message.content }}{%- endif %}
        {{- "<|eot|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start|>assistant<|end|>\\n\\n' }}{%- endif %}
"""
case("chats", "dated tools", DATED_TOOLS, **context(TOOL_CHAT, tools=TOOLS))
case("chats", "dated no tools", DATED_TOOLS, **context(TEXT_CHAT, tools=None))
case("chats", "dated custom tools", DATED_TOOLS, **context(TEXT_CHAT, custom_tools=TOOLS[1:], date_string="1 Jan 2020"))
case("chats", "dated without messages", DATED_TOOLS, **context([{"role": "system", "content": "x"}], tools=TOOLS))

INSTRUCT = """{%- set loop_messages = messages[1:] if messages[0].role == "system" else messages %}
{%- set system = messages[0].content if messages[0].role == "system" %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{{- bos_token }}
{%- for message in loop_messages | rejectattr("role", "equalto", "tool") | rejectattr("tool_calls", "defined") %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}{{- '"' + key + '": "' + val + '"' }}
                    {%- else %}{{- '"' + key + '": ' + val|tojson }}{%- endif %}
                    {%- if not loop.last %}{{- ", " }}{%- endif %}
                {%- endfor %}
                {{- "}}" }}{%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" }}{%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system is defined %}{{- "[INST] " + system + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}{{- "[INST] " + message["content"] + "[/INST]" }}{%- endif %}
    {%- elif message["role"] == "assistant" %}{{- " " + message["content"]|trim + eos_token }}
    {%- endif %}
{%- endfor %}"""
case("chats", "instruct with tools", INSTRUCT, **context(TOOL_CHAT, tools=TOOLS))
case("chats", "instruct", INSTRUCT, **context(TEXT_CHAT, tools=None))

THINKING = """{%- set ns = namespace(last=messages|length - 1, multi=true, names=[]) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi = false %}{%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}{%- set content = message.content %}{%- else %}{%- set content = '' %}{%- endif %}
    {%- if message.role == "assistant" %}
        {%- set reasoning = '' %}
        {%- if '</think>' in content %}
            {%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 < ns.last and reasoning %}{{- '<think>' ~ reasoning ~ '</think>' }}{%- endif %}
        {{- '<|assistant|>' + content }}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if tool_call.function %}{%- set tool_call = tool_call.function %}{%- endif %}
                {%- set ns.names = ns.names + [tool_call.name] %}
                {{- '\\n<tool_call>' }}{{- tool_call.name }}{{- tool_call.arguments if tool_call.arguments is string else tool_call.arguments | tojson }}
            {%- endfor %}
        {%- endif %}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}{{- '<|user|>' }}{%- endif %}
        {{- '\\n<tool_response>' ~ content ~ '</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|end|>' }}{%- endif %}
    {%- else %}{{- '<|' ~ message.role ~ '|>' ~ content }}{%- endif %}
{%- endfor %}
{{- ns.names | join(', ') }}|{{ ns.last }}
{%- if add_generation_prompt %}{{- '<|assistant|>' }}{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>' }}{%- endif %}{%- endif %}"""
case("chats", "thinking", THINKING, **context(TOOL_CHAT, enable_thinking=False))
case("chats", "thinking plain", THINKING, **context(TEXT_CHAT))

SCHEMA_MACROS = """{%- macro type_of(schema, spaces=0) -%}
{%- if schema.enum is defined -%}{%- for value in schema.enum -%}{{ value | tojson }}{%- if not loop.last %} | {% endif -%}{%- endfor -%}
{%- elif schema.type == "object" -%}{
{% for name, child in schema.properties.items() %}{{ " " * (spaces + 2) }}{{ name }}{% if name not in (schema.required or []) %}?{% endif %}: {{ type_of(child, spaces=spaces + 2) }},{% if child.default is defined %} // default: {{ child.default }}{% endif +%}
{% endfor %}{{ " " * spaces }}}
{%- elif schema.type in ["integer", "number"] -%}number
{%- else -%}{{ schema.type | default('any', true) }}{%- endif -%}
{%- endmacro -%}
{%- for tool in tools | map(attribute='function') %}// {{ tool.description or 'no description' }}
type {{ tool.name }} = (_: {{ type_of(tool.parameters) }}) => any;
{% endfor -%}"""
case("chats", "schema macros", SCHEMA_MACROS, **context(TEXT_CHAT, tools=TOOLS))

SEPARATORS = """{% set seps = ['\\n\\n', eos_token] %}Helpful.{% for message in messages %}{% if message['role']|lower == 'user' %}User: {% else %}{{ message['role'].capitalize() }}: {% endif %}{% for part in message['content'] %}{% if part['type'] == 'text' %}{% set text = part['text'] %}{% if loop.first %}{% set text = text.lstrip() %}{% endif %}{% if not loop.first and message['content'][loop.index0-1]['type'] == 'text' %}{{ ' ' + text }}{% else %}{{ text }}{% endif %}{% else %}<{{ part['type'] }}>{% endif %}{% endfor %}{% if not loop.last or add_generation_prompt %}{{ seps[loop.index0 % 2] }}{% endif %}{% endfor %}"""
case("chats", "separators", SEPARATORS, **context(IMAGE_CHAT))

TURNS = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}"""
case("chats", "turns", TURNS, **context(TEXT_CHAT[1:]))
case("chats", "turns refuse system", TURNS, **context(TEXT_CHAT))

BRACES = "{%- for m in messages %}{%- if m.role == 'user' %}{{- '{\"q\": ' ~ m.content|tojson ~ '}' }}{%- else %}{{- {'role': m.role, 'n': loop.index}|tojson(indent=2, sort_keys=true) }}{%- endif %}{%- endfor %}"
case("chats", "json lines", BRACES, **context(TEXT_CHAT))

PREFIXES = """{% for m in messages %}{% set prefix = {'user': '<|user|>', 'assistant': '<|bot|>'}.get(m.role, '<|' ~ m['role'] ~ '|>') %}{{ prefix }}{{ m.content if m.content is string else m.content | map(attribute='text', default='<media>') | join(' / ') }}
{% else %}empty
{% endfor %}{{ (messages | last).role }} {{ messages|map(attribute='role')|unique|list }}"""
case("chats", "prefixes", PREFIXES, **context(IMAGE_CHAT))
case("chats", "prefixes empty", PREFIXES.replace("(messages | last).role", "messages"), **context([]))

RENDERER = """{%- macro render(message, sep=', ') -%}
{%- if message.content is string -%}{{ message.content }}
{%- else -%}{%- for item in message.content -%}{%- if item.type == 'image' -%}<image>{%- elif item.type == 'text' -%}{{ item.text }}{%- else -%}{{ caller(item) if caller else '?' }}{%- endif -%}{{ sep if not loop.last }}{%- endfor -%}{%- endif -%}
{%- endmacro -%}
{%- for message in messages -%}{%- call(item) render(message, sep='; ') -%}[{{ item.type | upper }}]{%- endcall -%}{{ '\\n' }}{%- endfor -%}{{ render(messages[0]) }}"""
case("chats", "caller", RENDERER, **context(IMAGE_CHAT))

# --- expressions

X = {"n": 7, "f": 2.5, "s": "Hello, World", "u": "Gr\u00fc\u00dfe \U0001f600 \u00df", "xs": [3, 1, 2], "none": None, "yes": True,
     "d": {"b": 1, "a": [1, {"c": None}], "items": "shadowed", "k": "v"}, "empty": [], "words": ["pear", "Apple", "fig", "apple"],
     "people": [{"name": "Bo", "age": 5, "in": {"city": "Ulm"}}, {"name": "al", "age": 40, "in": {"city": "Bonn"}}, {"name": "Cy", "age": 5, "in": {}}]}

EXPRESSIONS = """1 + 2 * 3 - 4 / 2 | 7 // 2, -7 // 2, 7 % 3, -7 % 3, 2 ** 10, 2 ** -1, 2 ** 3 ** 2 | 7.5 // 2, -7.5 % 2
not n, not not n | +n
1 < 2 < 3, 1 < 3 < 2, 1 == 1.0 == true, 'a' < 'b', [1, 2] < [1, 3], (1,) == [1]
'ell' in s, 'z' not in s, 3 in xs, 'b' in d, 5 in [], none in [none], not 1 in xs
n and f, none or 'x', '' or 0, 0 and missing, xs and empty, not empty
'yes' if n > 3 else 'no', 'only' if n < 3, ('a' if none else 'b') ~ 'c', 1 if 0 else 2 if 0 else 3
s[0], s[-1], s[1:4], s[::-1], s[::2], s[10:], s[:-7], s[5:2], s[-3::-1], s[100:], s[0:0]
u[0], u[-1], u[2:4], u[::-1], u|length, u.upper(), u.title(), u[6]
xs[0], xs[-1], xs[::-1], xs[1:], xs[:1], xs[5:], xs[0:3:2], xs[-2:], xs[none:none]
d.b, d['b'], d.a[1].c, d['a'][0], d.items is callable, d['items'], d.nope, d['nope'], d.a.0
d.keys()|list, d.values()|list, d.items()|list, d.get('b'), d.get('z'), d.get('z', 9), d
[1, 'two', 3.0, none, true, [], {}, (), (1,), (1, 2), {'a': 'it\\'s', "q": '"'}]
1e3, 1.5e-7, 1e16, 123456789.125, 0.1 + 0.2, 1e22, 5.0, 1/3, 100.0 * 1.1, -0.0, 12345678901234567890.0
0x1f, 0b101, 0o17, 1_000, 1.0e5
'a' 'b' ~ "c\\n\\t\\\\ \\x41 \\u00e9 \\U0001F600 \\q"
'%s-%d-%5.1f|%-5s|%05d|%x|%%' % ('a', 3, 2.25, 'ab', 42, 255)
'%s' % 5, '%(a)s/%(b)03d' % {'a': 'x', 'b': 7}, '%r' % 'q', '%+d % d' % (1, 2), '%e' % 12345.678, '%g' % 0.00001
'ab' * 3, 3 * 'ab', [0] * 3, 'a' * 0, [1] + [2], (1, 2) + (3,), 'x' * -1
1 ~ 2 ~ none ~ true ~ 1.0 ~ [1, 'a'] ~ missing
n is odd, n is even, n is divisibleby 7, n is number, n is integer, n is float, f is float, yes is number, yes is integer
s is string, xs is sequence, d is mapping, d is sequence, n is iterable, s is iterable, none is none, missing is defined, missing is undefined, s is not none
yes is true, yes is false, yes is boolean, 1 is true, n is boolean, n is sameas 7, n is eq 7, n is ne 8, n is gt 3, n is lt(3), n is ge 7, n is le 6
n is in [7, 8], 'x' is in 'xyz', s is lower, 'abc' is lower, 'ABC' is upper, 'upper' is filter, 'odd' is test, s is callable, range is callable
missing, missing == none, missing|length, missing|list, missing|join, missing|default('dflt'), missing or 'x', '' is undefined, [missing], missing ~ 'x', missing is none
none|default('x'), none|default('x', true), ''|default('e', boolean=true), 0|d(5, true), missing|d
(1, 2), ((1, 2), 3), 1, (), [(1, 2)][0][1]
{'a': 1, 'b': {'c': [1, 2]}}['b']['c'][-1], {1: 'one', none: 'n', true: 't'}, {'x': 1}.x, {'a': 1, 'a': 2}
range(3), range(3)|list, range(2, 10, 3)|list, range(5, 0, -2)|list, range(0)|list, range(5)[1:3]|list, range(3)|length, 2 in range(3), range(4)[-1]
dict(a=1, b='x'), dict({'z': 1}, y=2), dict([('p', 1), ('q', 2)]), namespace(a=1).a, namespace({'b': 2}).b
n == 7 and s != 'x' or missing, (n > 3) == true, not (n == 7), n != 7
s.upper().lower().title()[0:5].replace('l', 'L')|length + 1
people[0].name ~ people|length, people[1]['in'].city, people[-1].in is defined, people[0]['in']['city'][0]
[1, 2, 3][1], 'abc'[1], {'a': [10, 20]}.a[1], (4, 5)[0], [[1, 2], [3, 4]][1][0], [] == [], {} == {}, {'a': 1} == {'a': 1.0}
1 == '1', none == false, 0 == false, 1 == true, '' == none, 'a' == 'a', [1] == [1.0], (1, [2]) == (1, [2])
3 if true, (3 if false)|default('undef'), true and 1 or 2, (1 if true else 2) + 1
3.0 == 3, 7 // 2.0, 7 % 2.5, 1 // 1, 2.0 ** 3, 10 ** 18, -5 // 3, 5 // -3, -5 % -3, 5.5 % -2
true + true, true * 3, -true, true / 2, 'abc' > 'abd', 'Z' < 'a', 1 < 2.5, true < 2
loop is defined, namespace is defined, true is defined, xs is defined and xs[0] == 3
none, None, True, False, true, false, [none, true]""".split("\n")
for index, line in enumerate(EXPRESSIONS):
    for part, text in enumerate(line.split(" | ") if "%-5s|" not in line else [line]):
        case("expressions", f"line {index + 1}.{part + 1}", "{{ " + text + " }}", **X)
case("expressions", "bar", "{{ -n|abs }} {{ -(n)|abs }} {{ (-n)|abs }} {{ s|length + 1 }} {{ 'a' ~ s|upper ~ 'b' }} {{ 2 * n|string|length }} {{ not s|length == 12 }}", **X)
case("expressions", "brackets", "{{ {'a': {'b': {}}} }}{{ {} }}{{ [[[]]] }}{{ ((1)) }}{{ {'}}': '%}'}['}}'] }}", **X)
case("expressions", "trailing commas", "{{ [1, 2,] }} {{ (1,) }} {{ {'a': 1,} }} {{ dict(a=1,) }} {{ range(3,)|list }}", **X)
case("expressions", "calls", "{% macro f(a, b=2, c=a ~ b) %}{{ a }}/{{ b }}/{{ c }}{% endmacro %}{{ f(1) }} {{ f(1, 3) }} {{ f(c=9, a=8) }} {{ f(*[1, 2]) }} {{ f(**{'a': 5, 'b': 6}) }} {{ f() }} {{ f(*[1], **{'c': 3}) }}", **X)

# --- methods

METHODS = """'  a b '.strip(), ' x'.lstrip(), 'x '.rstrip(), 'xxaxx'.strip('x'), 'abcba'.lstrip('ab'), 'abcba'.rstrip('ab'), '\\u00a0x\\u3000'.strip()
'a,b,,c'.split(','), ' a  b '.split(), 'a,b,c'.split(',', 1), 'a b c d'.rsplit(' ', 2), 'abc'.split('x'), ''.split(), ''.split(','), ' a b c'.split(none, 1), ' a b c '.rsplit(none, 1), 'a--b'.split(sep='--', maxsplit=3)
'a\\nb\\r\\nc\\n'.splitlines(), 'a\\nb'.splitlines(true), ''.splitlines(), 'x\\n\\ny'.splitlines()
s.startswith('Hell'), s.endswith('ld'), s.startswith(('x', 'H')), s.startswith('ello', 1), s.endswith('Hello', 0, 5), s.startswith('')
s.find('o'), s.find('o', 5), s.rfind('o'), s.find('zz'), s.index('W'), s.count('l'), s.count(''), u.find('\\u00df'), u.count('e'), s.find('o', -5, -1)
s.replace('l', 'L'), s.replace('l', 'L', 2), s.replace('', '-'), s.replace('o', ''), 'aaa'.replace('aa', 'b'), 'ab'.replace('', '-', 2)
s.upper(), s.lower(), s.title(), s.swapcase(), 'hELLO wORLD'.capitalize(), "they're bill's".title(), 'x1y'.title(), '\u00df'.upper(), '\u00c4\u00d6'.lower(), '\u00e9a'.capitalize()
', '.join(words), ''.join(['a']), '-'.join('abc'), ', '.join(d), ' '.join([])
'abc'.center(9), 'abc'.center(8, '*'), 'ab'.center(5, '.'), 'abc'.ljust(6) ~ '|', 'abc'.rjust(6), '42'.zfill(5), '-42'.zfill(5), 'abcdef'.zfill(3)
'12'.isdigit(), 'a1'.isalnum(), 'ab'.isalpha(), ' '.isspace(), 'AB'.isupper(), 'ab'.islower(), ''.isdigit(), '1.5'.isdigit(), 'Ab'.isupper(), '\u00e9'.isalpha(), 'a b'.isalpha()
'{} and {}'.format(1, 'x'), '{0}{1}{0}'.format('a', 'b'), '{a}-{b}'.format(a=1, b=2), '{:>5}|{:<5}|{:^5}'.format('a', 'b', 'c'), '{:05d} {:.2f} {:x} {:,}'.format(42, 3.14159, 255, 1234567), '{{}} {}'.format(1), '{p[name]} {p[age]}'.format(p=people[0]), '{!r}'.format('q'), '{:*^7}'.format('m'), '{:+d}'.format(3), '{:.3}'.format('abcdef'), '{:8.3f}|'.format(2.5), '{:e}'.format(1234.5), '{:.1%}'.format(0.256)
'a=b=c'.partition('='), 'a=b=c'.rpartition('='), 'abc'.partition('x'), 'abc'.rpartition('x')
'prefix_x'.removeprefix('prefix_'), 'x.py'.removesuffix('.py'), 'abc'.removeprefix('z')
xs.index(1), xs.count(3), words.index('fig'), d.copy() == d, xs.copy()
d.items()|length, d.keys()|length, 'b' in d.keys(), 1 in d.values(), d.items()|first, d.values()|last == 'v', d.keys()
{'get': 1}.get, {'a': 1}['get'] is defined, {'keys': 5}['keys'], {'keys': 5}.keys is callable""".split("\n")
for index, line in enumerate(METHODS):
    case("methods", f"line {index + 1}", "{{ [" + line + "] }}" if "get': 1" not in line else "{{ {'keys': 5}['keys'] }} {{ {'keys': 5}.keys is callable }}", **X)
for name, text in {"append": "{{ xs.append(4) }}", "pop": "{{ d.pop('b') }}", "update": "{% set _ = d.update({'x': 1}) %}", "sort": "{{ xs.sort() }}",
                   "index": "{{ 'a'.index('z') }}", "unknown": "{{ s.shout() }}", "sep": "{{ s.split('') }}", "join": "{{ ','.join([1]) }}",
                   "too many": "{{ s.upper(1) }}"}.items():
    case("methods", "error " + name, text, **X)
case("methods", "unsafe is undefined", "{{ xs.append is defined }}{{ d.pop is defined }}{{ xs.append }}", **X)

# --- filters

FILTERS = """'  a '|trim, 'xax'|trim('x'), 5|trim, s|upper, s|lower, 'foo bar-baz (qux)'|title, "it's o'clock"|title, 'aBC'|capitalize, none|upper, missing|upper
s|length, xs|count, d|length, u|length, ''|length, xs|first, xs|last, empty|first, s|first, s|last, d|first, empty|last is defined
xs|join, xs|join(', '), words|join('|'), people|join(',', attribute='name'), people|join(',', 'age'), ''|join('x'), 'abc'|join('-'), [1, none, true, 2.5]|join(' ')
s|replace('l', 'L'), s|replace('l', '1', 1), 5|replace(5, 6), 'a.b'|replace('.', ''), 'aaa'|replace('a', 'b', count=2)
xs|sort, xs|sort(reverse=true), words|sort, words|sort(case_sensitive=true), people|sort(attribute='age')|map(attribute='name')|list, people|sort(attribute='age,name')|map(attribute='name')|list, people|sort(true, attribute='age')|map(attribute='name')|list
words|unique|list, words|unique(true)|list, [1, 1.0, true, 2]|unique|list, people|unique(attribute='age')|map(attribute='name')|list
xs|reverse|list, s|reverse, ''|reverse, (1, 2)|reverse|list, '\u00e4b'|reverse
xs|min, xs|max, words|min, words|max, people|max(attribute='age'), empty|min is defined, xs|sum, people|sum(attribute='age'), people|sum('age', 100), [0.1, 0.2]|sum, empty|sum
people|map(attribute='name')|list, people|map(attribute='in.city')|list, people|map(attribute='in.city', default='-')|list, words|map('upper')|list, words|map('replace', 'p', 'q')|list, [[1, 2], [3]]|map('first')|list, [[1, 2], [3]]|map(attribute=0)|list, empty|map('upper')|list, missing|map('upper')|list, ['a', 'b']|map('length')|sum
xs|select('gt', 1)|list, xs|select('odd')|list, xs|reject('odd')|list, [0, 1, '', 'a', none]|select|list, [0, 1, '']|reject|list, xs|select('in', [1, 2])|list, words|select('equalto', 'fig')|list, xs|select('==', 1)|list
people|selectattr('age', 'equalto', 5)|map(attribute='name')|list, people|rejectattr('age', 'gt', 10)|map(attribute='name')|list, people|selectattr('in')|list|length, people|selectattr('nope', 'defined')|list|length, people|selectattr('in.city', 'equalto', 'Ulm')|list|length, people|rejectattr('nope', 'defined')|list|length
'abc'|list, d|list, xs|list, (1, 2)|list, range(3)|list, missing|list
5|string, none|string, 1.0|string, [1]|string, '5'|int, '5.7'|int, 'x'|int, 'x'|int(9), '0x1f'|int(0, 16), 3.9|int, -3.9|int, true|int, none|int, ' 12 '|int, '1_000'|int, '1e3'|int, 'ff'|int(base=16)
'2.5'|float, 'x'|float, 'x'|float(1.5), 3|float, none|float, 'inf'|float, ' 1e2 '|float, 'nan'|float
-5|abs, (-5)|abs, (-2.5)|abs, true|abs, 2.567|round, 2.567|round(2), 2.5|round, 3.5|round, 2.1|round(0, 'ceil'), 2.9|round(method='floor'), 1234|round(-2), 1250|round(-2), 7|round, 2.675|round(2), 1e20|round, -0.5|round, 2.25|round(1, 'ceil')
d|tojson, xs|tojson, s|tojson, none|tojson, true|tojson, 1.0|tojson, 1e20|tojson, (1, 2)|tojson, []|tojson, {}|tojson, '<a> & \\'b\\' "c"\\n\\t\\x01\\x7f/'|tojson, u|tojson
d|items|list, d|dictsort, {'B': 1, 'a': 0}|dictsort, {'B': 1, 'a': 0}|dictsort(true), {'x': 2, 'y': 1}|dictsort(by='value'), {'x': 2, 'y': 1}|dictsort(reverse=true), missing|items|list
'a\\nb\\n\\nc'|indent, 'a\\nb'|indent(2), 'a\\nb'|indent(2, true), 'a\\n\\nb'|indent(1, blank=true), 'a\\nb'|indent('> '), 'a\\nb'|indent('> ', first=true), 'a\\n'|indent, ''|indent(3, true)
'<a href="x">\\'&'|e ~ '.', '<'|escape ~ '.', 5|escape|int, '<b>'|forceescape|string ~ '', '<b>'|safe ~ '', 'x'|safe ~ 'y'
[1, 2, 3, 4, 5]|batch(2)|list, [1, 2, 3]|batch(2, 'x')|list, [1, 2, 3, 4, 5]|slice(2)|list, [1, 2, 3]|slice(2, 'x')|list, []|batch(3)|list, [1]|slice(3)|list
'a b  c-d e_f'|wordcount, ''|wordcount, 'x'|center(5), 'abcdef ghi jkl'|truncate(9), 'abcdef ghi'|truncate(9, leeway=0), 'abcdef ghi jkl mno'|truncate(10, true), 'abcdef ghi'|truncate(5, true, '..', 0), 'ab'|truncate(3)
'%s=%d'|format('a', 5), '%(x)s'|format(x=1), 'a b/c?d=\u00e9'|urlencode, {'a': 'x y', 'b': '/'}|urlencode
people|groupby('age')|list|length, people|groupby('age')|map('first')|list, people|groupby('age')|map(attribute='grouper')|list, (people|groupby('age'))[0].list|length, people|groupby('in.city', default='-')|map(attribute=0)|list
1000|filesizeformat, 1|filesizeformat, 2500000|filesizeformat, 2048|filesizeformat(true), 13|filesizeformat
d|attr('keys') is callable, d|attr('b') is defined, 'x'|attr('upper') is callable
(xs|map('string'))|join, xs|map('string')|first, xs|select('odd')|first""".split("\n")
for index, line in enumerate(FILTERS):
    case("filters", f"line {index + 1}", "{{ [" + line + "] }}", **X)
case("filters", "json indent", "{{ d|tojson(indent=2) }}\n{{ [[], {}, [1, [2]]]|tojson(indent=1) }}\n{{ d|tojson(indent=0) }}\n{{ d|tojson(indent='\t') }}", **X)
case("filters", "json options", "{{ u|tojson(ensure_ascii=true) }} {{ d|tojson(sort_keys=true) }} {{ d|tojson(separators=(',', ':')) }} {{ {1: 2, none: 3, true: 4, 1.5: 5}|tojson }} {{ u|tojson(true) }} {{ d|tojson(indent=none) }} {{ [1, {'a': 2}]|tojson(indent=2, separators=(', ', ' : ')) }}", **X)
case("filters", "generators", "{% set g = xs|select('odd') %}{{ 'truthy' if empty|select('odd') else 'falsy' }} {{ g|list }} {{ g|list }} {{ g is iterable }} {{ g is sequence }} {{ g is defined }}", **X)
case("filters", "chains", "{{ people | selectattr('age', 'lt', 10) | map(attribute='name') | map('lower') | sort | join('+') | upper | replace('+', ' & ') }}", **X)
for name, text in {"unknown": "{{ s|uper }}", "unknown test": "{{ s is strng }}", "tojson undefined": "{{ missing|tojson }}", "length of number": "{{ 5|length }}",
                   "length of generator": "{{ xs|select('odd')|length }}", "sort mixed": "{{ [1, 'a']|sort }}", "first of none": "{{ none|first }}", "items": "{{ 5|items|list }}",
                   "arguments": "{{ s|upper(1, 2) }}", "named": "{{ s|replace('a', new='b', more=1) }}", "last of generator": "{{ xs|select('odd')|last }}", "join none": "{{ none|join }}"}.items():
    case("filters", "error " + name, text, **X)
case("filters", "unknown not reached", "{% if false %}{{ s|nope }}{{ s is nope }}{% endif %}{{ s|nope if false else 'ok' }}{{ 'x' if 'nope' is filter else 'y' }}", **X)

# --- statements

STATEMENTS = {
    "if chain": "{% for i in range(4) %}{% if i == 0 %}a{% elif i == 1 %}b{% elif i == 2 %}c{% else %}d{% endif %}{% endfor %}",
    "for else": "{% for x in empty %}{{ x }}{% else %}none{% endfor %}{% for x in xs %}{{ x }}{% else %}none{% endfor %}",
    "for filter": "{% for x in xs if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }}{{ ',' if not loop.last }}{% else %}none{% endfor %}{% for x in xs if x > 9 %}{{ x }}{% else %}none{% endfor %}",
    "loop": "{% for x in xs %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.cycle('a', 'b') }}{{ loop.previtem }}-{{ loop.nextitem }};{% endfor %}",
    "loop edges": "{% for x in xs %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }} {% endfor %}",
    "nested loops": "{% for x in xs %}{% set outer = loop %}{% for y in xs %}{{ outer.index }}.{{ loop.index }} {% endfor %}{{ loop.index }}{% endfor %}",
    "unpack": "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}{% set p, q = 1, 2 %}{{ p }}{{ q }}{% set (p, q) = [3, 4] %}{{ p }}{{ q }}",
    "dict loop": "{% for k in d %}{{ k }} {% endfor %}{% for k, v in d|dictsort %}{{ k }} {% endfor %}{% for c in 'a\u00e9' %}[{{ c }}]{% endfor %}{% for x in missing %}{{ x }}{% else %}-{% endfor %}",
    "loop scope": "{% set x = 1 %}{% for i in xs %}{% set x = x + i %}{{ x }} {% endfor %}{{ x }}{% if true %}{% set x = 9 %}{% endif %}{{ x }}",
    "namespace": "{% set ns = namespace(total=0, seen=[]) %}{% for i in xs %}{% set ns.total = ns.total + i %}{% set ns.seen = ns.seen + [i] %}{% endfor %}{{ ns.total }} {{ ns.seen }} {{ ns.nope is defined }}{% set ns.new = 1 %}{{ ns.new }}{{ ns['total'] }}",
    "break": "{% for i in range(9) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 4 %}{% break %}{% endif %}{{ i }}{% else %}never{% endfor %}",
    "break first": "{% for i in range(9) %}{% break %}{% else %}else{% endfor %}",
    "continue all": "{% for i in range(3) %}{% continue %}{% else %}else{% endfor %}",
    "break inner": "{% for i in range(2) %}{% for j in range(5) %}{% if j == 2 %}{% break %}{% endif %}{{ i }}{{ j }} {% endfor %}{% endfor %}",
    "block set": "{% set text %}a{{ n }}\n b{% endset %}[{{ text }}]{% set up | upper | trim %} x {{ s }} {% endset %}[{{ up }}]{{ text is string }}",
    "block set scope": "{% set x = 1 %}{% set y %}{% set x = 2 %}{{ x }}{% endset %}{{ x }}{{ y }}",
    "macro": "{% macro m(a, b='d') %}<{{ a }}{{ b }}{{ varargs }}{{ kwargs }}>{% endmacro %}{{ m(1) }}{{ m(1, 2, 3, 4) }}{{ m(1, z=5) }}{{ m(b=2, a=1) }}",
    "macro closure": "{% set x = 1 %}{% macro m() %}{{ x }}{{ y }}{% endmacro %}{% set x = 2 %}{% set y = 3 %}{{ m() }}",
    "macro recursion": "{% macro tree(node) %}{{ node.v }}{% if node.c %}({% for child in node.c %}{{ tree(child) }}{% endfor %}){% endif %}{% endmacro %}{{ tree({'v': 1, 'c': [{'v': 2}, {'v': 3, 'c': [{'v': 4}]}]}) }}",
    "macro scope": "{% set x = 1 %}{% macro m() %}{% set x = 5 %}{{ x }}{% endmacro %}{{ m() }}{{ x }}{% macro outer() %}{% macro inner() %}i{% endmacro %}{{ inner() }}{% endmacro %}{{ outer() }}",
    "macro missing": "{% macro m(a) %}[{{ a }}{{ a is defined }}]{% endmacro %}{{ m() }}",
    "macro length": "{% macro m() %} x {% endmacro %}{{ m()|trim|length }}{{ m() ~ 'y' }}{{ m() == ' x ' }}",
    "macro in loop": "{% for i in xs %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}",
    "call": "{% macro box(t) %}[{{ t }}:{{ caller() }}]{% endmacro %}{% call box('a') %}in {{ n }}{% endcall %}{% macro each(l) %}{% for x in l %}{{ caller(x, loop.index) }}{% endfor %}{% endmacro %}{% call(x, i=0) each(xs) %}{{ i }}={{ x }} {% endcall %}",
    "call nested": "{% macro a() %}<{{ caller() }}>{% endmacro %}{% call a() %}{% call a() %}x{% endcall %}{% endcall %}",
    "filter block": "{% filter upper %}abc {{ s }}{% endfilter %}{% filter trim | replace('a', 'b') %}  aa {% endfilter %}",
    "with": "{% set a = 1 %}{% with a = 2, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}{{ b }}{% with %}{% set a = 7 %}{{ a }}{% endwith %}{{ a }}",
    "generation": "{% for x in xs %}{% generation %}{% set y = x %}<{{ y }}>{% endgeneration %}{{ y }}{% endfor %}",
    "raw": "{% raw %}{{ x }}{% if %}{# c #}{% endraw %}|{%- raw -%}  {{ y }}  {%- endraw -%}  |",
    "comments": "a{# x #}b{#- y -#} c {#+ z +#}\nd{# multi\nline #}\ne{# {{ x }} {% if %} #}",
    "print": "{% print n, s %}{% print 'x' %}",
    "autoescape": "{% autoescape false %}{{ '<b>' }}{% endautoescape %}{% block body %}{{ n }}{% endblock %}",
    "recursive": "{% for x in [{'v': 1, 'c': [{'v': 2, 'c': []}]}, {'v': 3, 'c': []}] recursive %}{{ x.v }}{{ loop.depth }}{% if x.c %}({{ loop(x.c) }}){% endif %}{% endfor %}",
    "globals": "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{% set j = joiner('; ') %}{% for x in xs %}{{ j() }}{{ x }}{% endfor %}",
    "strftime": "{{ strftime_now('%Y-%m-%d %H:%M:%S') }} {{ strftime_now('%d %b %Y, %A %B %j %I %p %y %%') }} {{ strftime_now('%-d.%-m.') }} {{ strftime_now('') }}[{{ strftime_now('%Z%z') }}]",
    "set tuple": "{% set t = 1, 2 %}{{ t }}{% set u = (1,) %}{{ u }}{% for x in 1, 2, 3 %}{{ x }}{% endfor %}{% if 1, %}y{% endif %}",
    "colon": "{% if n: %}y{% endif %}{% for x in xs: %}{{ x }}{% endfor %}",
    "inline if filter": "{% for m in people if m.age == 5 and m.in is defined %}{{ m.name }}{% endfor %}",
    "lazy loop filter": "{% set ns = namespace(n=0) %}{% for x in [1, 2, 3, 4] if ns.n < 2 %}{{ x }}{% set ns.n = ns.n + 1 %}{% endfor %}",
    "names": "{% set _x1 = 1 %}{% set gr\u00f6\u00dfe = 2 %}{{ _x1 }}{{ gr\u00f6\u00dfe }}{% set in_ = 3 %}{{ in_ }}{% set iff = 4 %}{{ iff }}",
    "empty": "",
    "text only": "a\nb } } % { # }}\n",
    "shadow": "{% set range = 5 %}{{ range }}{% set messages = [1] %}{{ messages }}",
}
for name, text in STATEMENTS.items():
    case("statements", name, text, **X)
for name, text in {"assign attribute": "{% set d.x = 1 %}", "unpack": "{% set a, b = [1] %}", "raise": "{{ raise_exception('no ' ~ n) }}", "call undefined": "{{ nope() }}",
                   "attribute of undefined": "{{ nope.x }}", "item of undefined": "{{ d.nope['x'] }}", "none iteration": "{% for x in none %}{% endfor %}", "add": "{{ 'a' + 1 }}", "add none": "{{ 'a' + none }}",
                   "add undefined": "{{ nope + 'a' }}", "compare": "{{ 'a' < 1 }}", "macro too many": "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "macro keyword": "{% macro m(a) %}{% endmacro %}{{ m(z=2) }}",
                   "caller unused": "{% macro m() %}{% endmacro %}{% call m() %}x{% endcall %}", "divide": "{{ 1 / 0 }}", "range": "{{ range(1000000) }}", "in number": "{{ 1 in 5 }}",
                   "unclosed if": "{% if n %}a", "unclosed for": "{% for x in xs %}a{% endif %}", "unknown tag": "{% fro x in xs %}", "stray end": "a{% endif %}", "unclosed variable": "{{ n ", "unclosed comment": "{# x",
                   "bad syntax": "{{ n n }}", "empty variable": "{{ }}", "unbalanced": "{{ (n }}", "break outside": "{% break %}", "include": "{% include 'x' %}", "import": "{% import 'x' as y %}", "extends": "{% extends 'x' %}",
                   "unclosed string": "{{ 'abc }}", "unclosed raw": "{% raw %}x", "assign call": "{% set f() = 1 %}", "assign constant": "{% set none = 1 %}", "chained tests": "{{ n is odd is odd }}", "do": "{% do xs %}",
                   "default order": "{% macro m(a=1, b) %}{% endmacro %}", "key list": "{{ {[1]: 2} }}", "negate": "{{ -'a' }}"}.items():
    case("statements", "error " + name, text, **X)

# --- white space

WHITESPACE = {
    "trim blocks": "{% if true %}\nline\n{% endif %}\nnext\n\n{% if true %}x{% endif %}\n\n\nend\n",
    "lstrip blocks": "a\n   {% if true %}\n  b\n\t {% endif %} c\n   {{ n }}\n  {# comment #}\n   d",
    "inline": "a {% if true %} b {% endif %} c",
    "minus": "a  \n {%- if true -%} \n  b  \n {%- endif -%}  \n c {{- n -}}  d",
    "plus": "a\n   {%+ if true %}b{% endif +%}\nc\n  {%+ if true +%}\n d{% endif %}",
    "variables": "  {{ n }}\n{{ n -}}\n\n  x  \n\n{{- n }}  \n",
    "trailing newlines": "x\n\n",
    "carriage returns": "a\r\n{% if true %}\r\nb\r\n{% endif %}\rc\r\n",
    "comment": "a\n  {#- x -#}  \n b\n {# y #}\nc {# z #}\n d {#+ w #} e\n{# p +#}\nq",
    "raw": "a\n  {% raw %}\n  {{ b }}\n  {% endraw %}\n c {%- raw %}x{% endraw +%}\ny",
    "after variable": "{{ n }}   {% if true %}x{% endif %}\n{{ n }}\n   {% if true %}y{% endif %}",
    "block after block": "{% if true %}{% if true %}\n  {% endif %}\n  {% endif %}  \nx",
    "tabs": "\t{% if true %}\t\nx\t{% endif %}\t\ny",
    "start": "   {% set x = 1 %}\n   {{ x }}\n \n  {%- set y = 2 %}\n{{ y }}",
    "for": "{% for x in xs %}\n    {{ x }}\n{% endfor %}\n{% for x in xs -%}\n    {{ x }}\n{%- endfor %}\n.",
    "unicode space": "a \u00a0{%- if true -%}\u3000 b{% endif %}\u2003\n\u2003{% if true %}c{% endif %}",
    "string newlines": "{{ 'a\nb' }}{{ \"c\\\nd\" }}{{ 'e\r\nf' }}",
}
for name, text in WHITESPACE.items():
    case("whitespace", name, text, **X)


def render(entry):
    compiled = _compile_jinja_template(entry["template"])
    compiled.globals["strftime_now"] = NOW.strftime
    return compiled.render(**entry["context"])


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for group, entries in CASES.items():
        for entry in entries:
            try:
                entry["expected"] = render(entry)
            except Exception as error:  # the reference refuses in many ways
                entry["error"] = True
                if "--errors" in sys.argv:
                    print(group, entry["name"], type(error).__name__, error)
        shared = X if group != "chats" else None  # all groups but one use the same context
        document = {
            "reference": f"transformers {transformers.__version__}, jinja2 {jinja2.__version__}",
            "now": NOW.isoformat(),
            "cases": [{k: v for k, v in entry.items() if k != "context" or shared is None} for entry in entries],
        }
        if shared is not None:
            document["context"] = shared
        text = json.dumps(document, ensure_ascii=True, indent=1)
        (folder / f"{group}.json").write_text(text + "\n")
        print(group, len(entries), sum("error" in e for e in entries))


main()

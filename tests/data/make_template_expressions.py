"""Renders templates with transformers' own Jinja2 environment, for tests/template_expressions.rs.

    pip install transformers==5.24.0 jinja2==3.1.6
    python make_template_expressions.py > template_expressions.json

A row is [template, text], or [template, null] where Python refuses. Variables: messages, tools, documents,
add_generation_prompt, bos_token, eos_token, d (a dict in this order: z, a), n.
"""

import json

from transformers.utils.chat_template_utils import _compile_jinja_template

METHODS = """
'a/b/c'.rsplit('/', 1)
'a b  c '.rsplit()
' a b  c '.rsplit(None, 1)
' a b  c '.split(None, 1)
' a b  c '.split(maxsplit=1)
'a,b,c'.split(',', maxsplit=1)
'a,b,c'.split(sep=',')
'abc'.split('')
'xabc'.removeprefix('x')
'abc'.removeprefix('x')
'abcx'.removesuffix('x')
'a:b:c'.partition(':')
'a:b:c'.rpartition(':')
'abc'.partition(':')
'abc'.rpartition(':')
'a\\nb\\r\\nc\\x0bd\\n'.splitlines()
'a\\nb\\r\\nc'.splitlines(True)
'a\\nb'.splitlines(keepends=true)
'{0} {1} {x}'.format(1, 2, x=3)
'{0}-{1}'.format('a', 'b')
'{:>5}|{:<5}|{:^5}|{:05.1f}'.format('a', 'b', 'c', 2.25)
'ab'.center(5)
'abc'.center(6, '*')
'ab'.ljust(5, '.') ~ '|'
'ab'.rjust(5)
'-42'.zfill(6)
'42'.zfill(1)
'Ab'.swapcase()
'straße'.casefold()
'hELLO wORLD'.capitalize()
"they're bill's".title()
'banana'.find('an', 2)
'banana'.rfind('an')
'banana'.index('n')
'banana'.index('x')
'banana'.rindex('a')
'banana'.count('a', 2)
'banana'.count('')
'banana'.startswith('nan', 2)
'banana'.startswith(('x', 'b'))
'banana'.endswith(('x', 'na'))
'banana'.replace('a', 'o', 2)
'  x\\x1f'.strip() ~ '|'
'xxaxx'.strip('x')
'xya'.lstrip('xy')
'a\\tb'.expandtabs(4)
'a'.isalpha()
'1'.isdecimal()
'1'.isdigit()
' \\t'.isspace()
'Ab Cd'.istitle()
'a_1'.isidentifier()
'1a'.isidentifier()
'a b'.isprintable()
'a\\nb'.isprintable()
'a1'.isalnum()
'é'.isascii()
'ab'.isupper()
', '.join(['a', 'b'])
[1, 2, 1].count(1)
[1, 2, 1].index(2)
[1, 2].index(3)
[1, 2].copy()
d.get('a')
d.get('x', 'none')
d.keys()|list
d.values()|list
d.items()|list
d.copy()
(2.0).is_integer()
'abc'.nosuch()
d.nosuch()
""".strip().splitlines()

EXPRESSIONS = """
'%s' % 'x'
'%s and %s' % ('a', 'b')
'%s' % [1, 'b']
'%r %a' % ("it's", 'é')
'%(a)s %(z)05d' % {'a': 1, 'z': 2}
'%d%%' % 50
'%5.2f|%-6s|%+d|% d|%05d|%x|%X|%#o|%c' % (3.14159, 'ab', 3, 4, 42, 255, 255, 8, 'z')
'%e %g %g %g %G' % (12345.678, 0.00001234, 123456789.0, 0.5, 1e-10)
'%.3s|%*d' % ('abcdef', 5, 7)
'%s' % ()
'%s %s' % ('a',)
'%d' % 'x'
'x' % 1
'%s' % none
'%s' % true
'%.2f' % 2
'%i' % 3.9
'a: %s' % 'b' ~ '!'
('a' ~ '%s') % 'b'
n % 2
7 % -3
-7 % 3
2 * 7 % 4
7.5 % 2
(n % 2 == 0) ~ 'x'
'x'|int
'x'|int(7)
'x'|int(default=5)
'12'|int + 1
'0x1f'|int(base=16)
'3.9'|int
none|int
[]|int(3)
true|int
' 4_2 '|int
'x'|float
'x'|float(1.5)
'2.5'|float
'1e3'|float
none|float
3|float
'inf'|float
'a' is sequence
d is sequence
[1] is sequence
3 is sequence
'a' is iterable
d is mapping
'a' is string
{'b': 1, 'a': [1, 2]}|tojson
{'b': 1, 'a': [1, 2]}|tojson(separators=(',', ':'))
{'b': 1, 'a': 2}|tojson(sort_keys=true)
{'b': 1, 'a': [1, {}]}|tojson(indent=2)
{'b': 1}|tojson(indent='--')
[1, 2]|tojson(indent=0)
[]|tojson(indent=4)
'é<>&"\\u2028'|tojson
'é😀'|tojson(ensure_ascii=true)
{1: 'a', none: 'b', false: 'c', 1.5: 'd'}|tojson
none is iterable
nosuch is iterable
3 is iterable
'a%b' % ()
'100%' ~ ('%s' % 'x')
1.5e0 % 1
'abc def ghi jkl'|truncate(10, true)
'abc def ghi jkl'|truncate(length=8, end='…', leeway=0)
[1.0, 1e16, 1e-5, 0.1, 123456789.5]|tojson
(1, 'a')|tojson
nosuch|tojson
messages[0]|tojson
messages
messages[0]
d
[1, 'a', none, true, 1.5, "it's"]
(1,)
[1, [2, {'a': none}]]
1e16
0.00001
1.0
100000000.0
none
d|items|list
d|dictsort
d|list
d|string
[1, 2]|string
[3, 1, 2]|sort
[1, 2]|join(', ')
['a', 'b']|join
'ab'|center(6) ~ '|'
'a b c'|wordcount
'%s-%s'|format('a', 1)
'%(x)s'|format(x=1)
'hello world'|title
'HELLO'|capitalize
'abcdefghij klmno'|truncate(9)
'abc'|truncate(5)
'abc'[::-1]
'abc'[1:]
'abc'[-1]
[1, 2, 3][::-1]
'a\\nb'|indent(2)
'abc'|first
'abc'|reverse
[1, 2, 3]|last
'ab'|upper|lower
tools is none
not tools is none
tools is not none
tools == none
documents is defined
pad_token is defined
bos_token ~ eos_token
tools|default('x')
tools|default('x', true)
'a' in 'abc'
'a' in d
range(3)|list
range(5, 0, -2)|list
dict(a=1, b=2)
[1, 2] + [3]
'ab' * 2
7 // 2
2 ** 3
7 / 2
3 == 3.0
'b' < 'a'
'a' 'b'
d['z'] if 'z' in d else 'no'
d.z
[{'k': 2}, {'k': 1}]|sort(attribute='k')
[{'k': 2}, {'k': 1}]|map(attribute='k')|list
[0, 1, 2]|select('odd')|list
[0, 1, 2]|reject('equalto', 1)|list
[{'k': 2}, {'k': 1}]|selectattr('k', 'equalto', 1)|list
[1, 1, 2]|unique|list
[1, 2, 3, 4]|batch(3)|list
[1.55, 2]|sum
2.567|round(1)
2.5|round
-3|abs
'<b>'|escape
' x '|trim ~ '|'
namespace(a=1).a
""".strip().splitlines()

STATEMENTS = [
    "{% for k in {'S1': 1, 'S2': 2, 'S10': 3} %}{{ k }} {% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }} {% endfor %}",
    "{% set x = '%s!' % messages[0].content %}{{ x }}",
    "{% if n % 2 == 1 %}odd{% else %}even{% endif %}",
    "{% for m in messages %}{% if loop.index0 % 2 == 0 %}{{ m.role }}{% endif %}{% endfor %}",
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}!{% endif %}{% endfor %}",
    "{{ '%}' }}{{ '{{' }}{% raw %}{{ 1 % 2 }}{% endraw %}",
    "a\r\nb{{ 'c\r\nd' }}\re\r\n",
    "{% macro f(x) %}<{{ x % 3 }}>{% endmacro %}{{ f(7) }}",
    "{% set ns = namespace(v='') %}{% for m in messages %}{% set ns.v = ns.v + m.role %}{% endfor %}{{ ns.v }}",
    "{% for a in [1, 2, 3] %}{{ loop.cycle('x', 'y') }}{% endfor %}",
    "{% set j = joiner(', ') %}{% for a in [1, 2] %}{{ j() }}{{ a }}{% endfor %}",
    "{%- for m in messages -%}\n  {{ m.content }}\n{%- endfor %}",
    "{% filter upper %}abc{% endfilter %}",
    "{% call(x) f2() %}{{ x }}{% endcall %}",
    "{# 5 % 2 #}{{ 5 % 2 }}",
]

VARIABLES = {
    "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "it's \"ok\""}],
    "tools": None,
    "documents": None,
    "add_generation_prompt": True,
    "bos_token": "<s>",
    "eos_token": "</s>",
    "d": {"z": 1, "a": "b"},
    "n": 5,
}


def main():
    sources = ["{{ " + line + " }}" for line in METHODS + EXPRESSIONS] + STATEMENTS
    rows = []
    for source in sources:
        try:
            text = _compile_jinja_template(source).render(**VARIABLES)
        except Exception:
            text = None
        rows.append([source, text])
    print("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]")


main()

"""What a customer could put into a name to be read as something else than text."""

from hypothesis import strategies as st

FRAGMENTS = (
    *("![t](http://evil.example/x.png)", "[click](javascript:alert(1))", "[a]: http://evil.example", "<img src=x>"),
    *("<script>alert(1)</script>", "<!channel>", "<http://evil.example|here>", "<!-- -->", "&amp;", "&#42;", "&lt;"),
    *("`", "```", "``", "|", "\\|", "\\\\|", "\\", "*bold*", "**b**", "_i_", "~s~", "~~s~~", "# ", "> ", "- ", "1. "),
    *(
        ":red_circle:",
        ":warning: *Run failed*",
        "$x^2$",
        "$\\frac{",
        "$",
        "\n",
        "\r\n",
        "\n\n",
        "\t",
        "\x00",
        "\x1b[31m",
    ),
    *("\u2028", "\u2029", "\u202e", "\u200b", "\ud800", "\u0085", "http://evil.example", "HTTPS://evil.example/?a=b"),
    *("www.evil.example", "jane@acme.example", "_hidden", "---", "===", "| --- |", "   ", "é", "日本", "🙂", "others"),
)

hostile_text = st.one_of(
    st.lists(st.sampled_from(FRAGMENTS), max_size=8).map("".join),
    st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=6)), max_size=8).map("".join),
    st.text(max_size=80),
)

# What DuckDB and Parquet can hold: no half of a pair.
stored_text = hostile_text.map(lambda text: text.replace("\ud800", ""))

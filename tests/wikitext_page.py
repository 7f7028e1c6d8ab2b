"""A page of wikitext that holds what articles hold, and the text that a reader of it sees."""

WIKITEXT = """{{다른 뜻|서울 (동음이의)}}
{{대한민국의 도시 정보
| 이름 = 서울특별시
| 그림 = [[파일:Seoul.jpg|250px|{{작게|서울의 [[한강]]}}]]
| 인구 = {{formatnum:{{인구|서울}}}}
| 지도 = {| class="x"
| inner
|}
}}
[[파일:Montage of Seoul.png|thumb|left|200px|왼쪽은 [[경복궁]], 오른쪽은 \
[[남산서울타워|타워]]<ref>사진</ref>]]
<!-- 여러 줄의
주석 {{틀}} -->
'''서울특별시'''({{llang|ko|서울特別市}}, {{lang|en|Seoul}})는 \
[[대한민국]]의 [[수도 (행정)|수도]]이자 \
''최대'' 도시이다.<ref name="a">{{웹 인용|제목=서울|url=http://x.kr/a|날짜=2011-01-02}}</ref> \
현재의 시장은 [[오세훈]]이다.<ref name="a" /><ref name=b/> \
면적은 605.2&nbsp;km<sup>2</sup>이며&mdash;2020년 &lt;기준&gt;&#50896; AT&amp;T이다.

{| class="wikitable"
|+ 인구
! 연도 !! 인구
|-
| 2000 || [[천만]]
|
{|
| 안의 표
|}
|}
== 역사 ==
__TOC__
[[조선]]의 '''''도읍'''''이었다.<!-- 짧은 주석 --> '''한양'''이라 했다.
<!-- 홀로 선 주석 -->
둘째 줄이다.

=== 연표 ===
* 1394년: [[태조]]가 옮겼다
** 안쪽 [[항목]]
# 첫째
# 둘째
; 용어 : 설명이다
: 들여쓴 글

<gallery mode="packed">
파일:A.jpg|[[경복궁]]의 모습
파일:B.jpg|덕수궁
</gallery>

=== 빈 절 ===
{{빈 틀}}

== 문화 ==
<blockquote>인용한 글이다.</blockquote>
공식은 <math>E = mc^2</math>와 같다. <nowiki>[[고리가 아님]]</nowiki>은 그대로다.
줄을<br />바꾼다. <small>작은 글</small>과 <span style="color:red">붉은 글</span>.
[http://www.seoul.go.kr 공식 누리집]과 [http://bare.example.com] 그리고 [[wikt:서울|wikt에서 서울]].
[[:분류:서울]]을 보라. [[#역사|역사]]도 있다.

<syntaxhighlight lang="python">
print("{{x}}")
</syntaxhighlight>

== 각주 ==
{{각주}}
<references>
<ref name="b">숨은 각주</ref>
</references>

== 바깥 고리 ==
* {{공식}}

{{대한민국의 도시}}
[[분류:서울특별시| ]]
[[Category:Capitals]]
[[en:Seoul]]
[[zh-min-nan:Seoul]]
"""

TEXT = """서울특별시(서울特別市, Seoul)는 대한민국의 수도이자 최대 도시이다. \
현재의 시장은 오세훈이다. \
면적은 605.2 km2이며—2020년 <기준>원 AT&T이다.

역사

조선의 도읍이었다. 한양이라 했다.
둘째 줄이다.

연표

1394년: 태조가 옮겼다
안쪽 항목
첫째
둘째
용어
설명이다
들여쓴 글

문화

인용한 글이다.

공식은 와 같다. [[고리가 아님]]은 그대로다.
줄을
바꾼다. 작은 글과 붉은 글.
공식 누리집과 [1] 그리고 wikt에서 서울.
분류:서울을 보라. 역사도 있다."""

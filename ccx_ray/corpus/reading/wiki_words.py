"""Words that MediaWiki knows in every language: switches, redirects, namespaces, languages.

A dump names the namespaces of its own wiki, but neither their other names nor its interwiki map nor
its words for ``__TOC__`` and ``#REDIRECT``; those below are of MediaWiki's message files and of
Wikimedia's interwiki map. Words are in lower case, as they are looked up.
"""


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


LANGUAGES = words("""
aa ab ace ady af ak als alt am ami an ang ann anp ar arc ary arz as ast atj av avk awa ay az azb
ba ban bar bat-smg bbc bcl bdr be be-tarask be-x-old bew bg bh bi bjn blk bm bn bo bol bpy br bs
btm bug bxr ca cbk-zam cdo ce ceb ch cho chr chy ckb co cr crh cs csb cu cv cy da dag de dga din
diq dsb dtp dty dv dz ee el eml en eo es et eu ext fa fat ff fi fiu-vro fj fo fon fr frp frr fur fy
ga gag gan gcr gd gl glk gn gom gor got gpe gsw gu guc gur guw gv ha hak haw he hi hif ho hr hsb ht
hu hy hyw hz ia iba id ie ig igl ii ik ilo inh io is it iu ja jam jbo jv ka kaa kab kbd kbp kcg kg
kge ki kj kk kl km kn knc ko koi kr krc ks ksh ku kus kv kw ky la lad lb lbe lez lfn lg li lij lld
lmo ln lo lrc lt ltg lv lzh mad mai map-bms mdf mg mh mhr mi min mk ml mn mni mnw mo mos mr mrj ms
mt mus mwl my myv mzn na nah nan nap nb nds nds-nl ne new ng nia nl nn no nov nqo nr nrm nso nup nv
ny oc olo om or os pa pag pam pap pcd pcm pdc pfl pi pih pl pms pnb pnt ps pt pwn qu rki rm rmy rn
ro roa-rup roa-tara rsk ru rue rup rw sa sah sat sc scn sco sd se sg sgs sh shi shn shy si simple
sk skr sl sm smn sn so sq sr srn ss st stq su sv sw syl szl szy ta tay tcy tdd te tet tg th ti tig
tk tl tly tn to tpi tr trv ts tt tum tw ty tyv udm ug uk ur uz ve vec vep vi vls vo vro wa war wo
wuu xal xh xmf yi yo yue za zea zgh zh zh-cfr zh-classical zh-cn zh-min-nan zh-tw zh-yue zu
cmn cz dk epo jp minnan
""")
"""Prefixes of links to the same page in another language; the last six are old names."""

CANONICAL_NAMESPACES = frozenset(
    f"{name}{talk}"
    for name in words("user project file mediawiki template help category module portal")
    for talk in ("", " talk")
) | words("talk special media image")

FILE_WORDS = words("""
file image category
파일 그림 분류 文件 檔案 档案 文檔 图像 圖像 图片 圖片 ファイル 画像 分类 分類 カテゴリ
файл изображение картинка зураг ангилал категория зображення категорія датотека слика категорија
выява катэгорыя сурет αρχείο εικόνα κατηγορία ملف صورة تصنيف پرونده تصویر קובץ תמונה קטגוריה
चित्र श्रेणी चित्रम् চিত্র বিষয়শ্রেণী படிமம் பகுப்பு దస్త్రం వర్గం ചിത്രം പ്രമാണം വർഗ്ഗം
ไฟล์ ภาพ หมวดหมู่ ဖိုင် კატეგორია ფაილი სურათი պատկեր կատեգորիա
""")
"""Namespaces of files and categories, whose links are no prose, beside those that a dump names."""

FILE_ALIASES = {
    "ca": "imatge",
    "cs": "obrázek",
    "da": "billede",
    "de": "bild",
    "es": "imagen",
    "et": "pilt",
    "fi": "kuva",
    "hr": "slika",
    "hu": "kép",
    "id": "gambar",
    "it": "immagine",
    "nl": "afbeelding",
    "nn": "bilde",
    "no": "bilde",
    "pl": "grafika",
    "pt": "imagem ficheiro arquivo",
    "ro": "imagine",
    "sk": "obrázok",
    "sl": "slika",
    "sr": "slika",
    "sv": "bild",
    "tr": "resim",
    "vi": "hình",
}
"""Other names of the file namespace, by language: what is one there begins titles elsewhere."""

SWITCHES_OF_ANY_CASE = words(
    "toc notoc forcetoc noeditsection noheader nogallery notitleconvert notc nocontentconvert nocc"
)
SWITCHES = words("""
newsectionlink nonewsectionlink hiddencat index noindex staticredirect expectunusedcategory
expectunusedtemplate expected_unconnected_page disambig archivedtalk notalk noglobal
목차 목차숨김 목차보임 목차표시 단락편집숨김 문단편집숨김 부분편집숨김 화랑숨김 갤러리숨김 헤더숨김
새글쓰기 새글쓰기숨기기 숨은분류 색인 색인거부 넘겨주기고정 제목변환안함 제목변환없음 제변안함
제변없음 내용변환안함 내용변환없음 내변안함 내변없음
目录 目錄 无目录 無目錄 强显目录 強制目錄 无段落编辑 無段落編輯 无编辑段落 无图库 無圖庫 不转换标题
不轉換標題 不转换内容 不轉換內容 新段落链接 新段落連結 隐藏分类 隱藏分類 索引 不索引 静态重定向
目次 目次非表示 目次強制 節編集非表示 セクション編集非表示 見出し非表示 ギャラリー非表示
タイトル変換無効 タイトルコンバート拒否 タイトル非表示 内容変換無効 内容変換抑制
оглавление огл без_оглавления без_огл обязательное_оглавление обяз_огл без_галереи
без_редактирования_раздела без_преобразования_заголовка без_преобразования_текста
зміст без_змісту обов_зміст без_галереї без_редагув_розділу зьмест бязь_зьместу зьмест_прымусам
съдържание безсъдържание съссъдържание безгалерия садржај без_садржаја безсадржаја содржина
безсодржина сосодржина форсирани_садржај форсиранисадржај мазмұны мазмұнсыз мазмұндатқызу
эчтелек башлыкюк допчу эге_чок албан_эге феҳрист бе_феҳрист
inhaltsverzeichnis kein_inhaltsverzeichnis keininhaltsverzeichnis inhaltsverzeichnis_erzwingen
abschnitte_nicht_bearbeiten keine_galerie keinegalerie
sommaire aucunsommaire aucuntdm forcersommaire forcertdm sectionnoneditable aucunegalerie
sin_tdc notdc forzar_tdc forzartoc forzartdc no_editar_sección noeditarsección sin_galería
nogalería sumário semsumário semtdc forcarsumario forcartdc nãoeditarseção semgaleria
indice inhoud geeninhoud geenio inhoud_dwingen forceerinhoud nietbewerkbaresectie geen_galerij
spis bezspisu wymuśspis zespisem bezedycjisekcji bezgalerii obsah bezobsahu vždyobsah bezgalerie
innehållsförteckning ingeninnehållsförteckning alltidinnehållsförteckning
interedigerasektion ingetgalleri innholdsfortegnelse ingeninnholdsfortegnelse innholdsliste
sisällysluettelo eisisluett eiosiomuokkausta sisluettpakotus tartalomjegyzék nincstartalomjegyzék
içindekiler i̇çindekiler içindekileryok i̇çindekileryok içindekilerzorunlu düzenlemeyok galeriyok
mụclục mục_lục khôngmụclục không_mục_lục luôn_mục_lục cuprins faracuprins forteazacuprins
daftarisi tanpadaftarisi paksadaftarisi sadržaj bezsadržaja bez_sadržaja indekso neindekso
πινακασπεριεχομενων χωρισπινακαπεριεχομενων μεπινακαπεριεχομενων
فهرس لافهرس لصق_فهرس لاتحريرقسم لامعرض فهرست بی‌فهرست بیفهرست بافهرست بینگارخانه فہرست
תוכן תוכן_עניינים ללא_תוכן ללא_תוכן_עניינים חייב_תוכן חייב_תוכן_עניינים ללא_עריכה ללא_גלריה
अनुक्रम बिना_अनुक्रम विषय_सूची विषय_सूची_हीन विषय_सूची_दिखाएँ अनुक्रमणी বিষয়বস্তুর_ছক
ไม่มีสารบัญ ไม่มีแก้เฉพาะส่วน មាតិកា គ្មានមាតិកា ഉള്ളടക്കം ഉള്ളടക്കംവേണ്ട բով առանց_բով ստիպել_բով
""")
"""Between ``__`` and ``__`` in capitals, for Python has an ``__index__``. Short ones of single
languages, such as ``__T__``, are left out."""

REDIRECTS = words("""
redirect 넘겨주기 重定向 重新導向 転送 リダイレクト
перенаправление перенапр редирект перенаправлення перанакіраваньне пренасочване виж види
пренасочување преусмери преусмјери айдау юнәлтү утаарыы утр көжүрүлге шигледир чиглүүлэг равона
weiterleitung wiederleiden viruleedung redirection rediriger redirección redireccion redirecció
redireccio redirecionamento redirecionar rinvia rinvio rimando rindirizza doorverwijzing patrz
przekieruj tam omdirigering omdiriger presmeruj přesměruj preusmeri preusmjeri preusmeritev
átirányítás ohjaus uudelleenohjaus suuna peradresavimas tilvísun stir aanstuur alidirektu alidirekti
yönlendir yönlendirme yönləndirmə i̇stiqamətləndir i̇stiqamətləndirmə yonaltirish yoʻnaltirish aýdaw
alih lencong đổi redirecteaza ail-cyfeirio ailgyfeirio athsheoladh birzuzendu endrecera reendrecera
redirèccion beralîkirin ridrejto fihodinana aliah adkas tawa omleide ömleide
ανακατευθυνση հղում վերահղում վերայղում הפניה ווייטערפירן تحويل تغییر_مسیر تغییرمسیر رجوع_مکرر
مخګرځ چوريو ڕەوانەکەر अनुप्रेषित अनुप्रेषण पुनर्निर्देशन पुनर्प्रेषित पुनर्निदेशन পুনর্নির্দেশ
পুননির্দেশ পুনঃনির্দেশ ਰੀਡਿਰੈਕਟ ଲେଉଟାଣି வழிமாற்று దారిమార్పు തിരിച്ചുവിടുക യളിയොമුව
යළියොමුව เปลี่ยนทาง გადამისამართება បញ្ជូនបន្ត ប្តូរទីតាំងទៅ
""")
"""After ``#`` at the beginning of a page that only sends its reader on."""

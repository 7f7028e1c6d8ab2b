"""Sentences of five languages that share a script with English, written for these tests.

Of the kind that an encyclopedia holds: long ones, short ones, names, numbers. Two words at least.
"""

INDONESIAN = """
Jakarta adalah ibu kota Indonesia dan kota terbesar di pulau Jawa.
Batik merupakan kain bergambar yang dibuat dengan menuliskan malam pada kain.
Rendang berasal dari Sumatera Barat dan dimasak dengan santan serta rempah-rempah.
Pada tahun 1945, Soekarno membacakan teks proklamasi di Jalan Pegangsaan Timur.
Candi Borobudur dibangun pada abad ke-9 oleh wangsa Syailendra.
Wayang kulit dipentaskan semalam suntuk oleh seorang dalang.
Gamelan terdiri atas gong, kenong, saron, dan berbagai alat musik pukul lainnya.
Penduduk desa itu sebagian besar bekerja sebagai petani padi.
Danau Toba terbentuk akibat letusan gunung berapi yang sangat besar.
Bahasa Indonesia ditetapkan sebagai bahasa persatuan pada tahun 1928.
Komodo hanya hidup di beberapa pulau di Nusa Tenggara Timur.
Hari raya Nyepi dirayakan oleh umat Hindu di Bali dengan berdiam diri.
Ia lahir di Surabaya dan menempuh pendidikan di Bandung.
Sungai Kapuas adalah sungai terpanjang di Indonesia.
Nasi goreng biasanya disajikan dengan telur mata sapi dan kerupuk.
Kerajaan Majapahit mencapai puncak kejayaannya di bawah Hayam Wuruk.
Kereta api pertama di Jawa menghubungkan Semarang dan Tanggung.
Pohon beringin sering dianggap keramat oleh masyarakat setempat.
Orang Minangkabau menganut sistem kekerabatan matrilineal.
Harga beras naik karena musim kemarau yang panjang.
Anak-anak bermain layang-layang di tepi sawah.
Museum ini dibuka untuk umum setiap hari kecuali Senin.
Tari Saman berasal dari dataran tinggi Gayo di Aceh.
Angklung dibuat dari bambu dan dimainkan dengan cara digoyangkan.
Gunung Merapi meletus lagi pada bulan November 2010.
Pempek terbuat dari ikan dan tepung sagu.
Sejarah dan asal-usul
Pranala luar
Lihat pula
Kehidupan pribadi
Letak geografis wilayah ini sangat strategis.
Terima kasih atas bantuan Anda.
""".strip().splitlines()

SWAHILI = """
Dodoma ni mji mkuu wa Tanzania tangu mwaka 1996.
Kiswahili huzungumzwa na watu wengi katika Afrika ya Mashariki.
Mlima Kilimanjaro ni mlima mrefu kuliko yote barani Afrika.
Wavuvi wa pwani hutumia majahazi kusafiri baharini.
Zanzibar inajulikana kwa karafuu na viungo vingine.
Mwalimu Julius Nyerere alikuwa rais wa kwanza wa Tanzania.
Taarab ni muziki wa pwani uliochanganya mila za Kiarabu na Kiafrika.
Wamasai ni wafugaji wanaoishi Kenya na Tanzania.
Ugali hupikwa kwa unga wa mahindi na maji ya moto.
Watoto walicheza mpira uwanjani baada ya shule.
Ziwa Viktoria ni ziwa kubwa kuliko yote barani Afrika.
Kanga ni nguo ya rangi nyingi yenye methali iliyoandikwa.
Mji wa Lamu ulianzishwa zaidi ya miaka mia saba iliyopita.
Alizaliwa mwaka wa 1950 katika kijiji kidogo karibu na Mombasa.
Simba, tembo na twiga huishi katika mbuga ya Serengeti.
Haraka haraka haina baraka.
Chai ya maziwa hunywewa asubuhi pamoja na mandazi.
Serikali ilijenga barabara mpya kutoka Arusha hadi Moshi.
Wakulima hupanda mahindi na maharagwe wakati wa mvua.
Ngoma hupigwa wakati wa harusi na sherehe nyingine.
Bahari ya Hindi iko mashariki ya Kenya.
Nairobi ni mji mkubwa na kitovu cha biashara.
Msikiti huo ulijengwa kwa mawe ya matumbawe.
Vitenge na kanga huvaliwa na wanawake wengi.
Mto Nile huanza katika nchi za maziwa makuu.
Hadithi za sungura na fisi hupendwa na watoto.
Wanafunzi walisoma vitabu vipya maktabani.
Viungo vya nje
Historia ya mji
Maisha ya awali
Watu wengi hufanya kazi ya kilimo.
Asante sana kwa msaada wako.
""".strip().splitlines()

VIETNAMESE = """
Hà Nội là thủ đô của nước Cộng hòa Xã hội chủ nghĩa Việt Nam.
Phở là món ăn truyền thống gồm bánh phở và nước dùng.
Vịnh Hạ Long được UNESCO công nhận là di sản thiên nhiên thế giới.
Tết Nguyên Đán là dịp lễ quan trọng nhất trong năm.
Truyện Kiều do Nguyễn Du sáng tác vào đầu thế kỷ 19.
Áo dài là trang phục truyền thống của người Việt.
Sông Mê Kông chảy qua nhiều nước trước khi đổ ra biển Đông.
Nhà Lý dời đô từ Hoa Lư về Thăng Long năm 1010.
Múa rối nước ra đời ở vùng đồng bằng sông Hồng.
Người dân trong làng chủ yếu trồng lúa và nuôi cá.
Chùa Một Cột được xây dựng dưới triều vua Lý Thái Tông.
Ông sinh ra trong một gia đình nhà nho nghèo ở Nghệ An.
Cà phê sữa đá rất phổ biến ở Thành phố Hồ Chí Minh.
Chữ Quốc ngữ dùng mẫu tự Latinh để ghi tiếng Việt.
Trống đồng Đông Sơn là biểu tượng của nền văn hóa cổ.
Đàn bầu chỉ có một dây nhưng âm thanh rất phong phú.
Cố đô Huế nằm bên bờ sông Hương.
Bánh chưng được gói bằng lá dong và luộc trong nhiều giờ.
Dân tộc Kinh chiếm phần lớn dân số cả nước.
Trận Bạch Đằng năm 938 chấm dứt thời kỳ Bắc thuộc.
Trẻ em thích rước đèn vào Tết Trung thu.
Bảo tàng mở cửa từ thứ ba đến chủ nhật.
Quan họ là làn điệu dân ca của vùng Bắc Ninh.
Nước mắm được làm từ cá và muối.
Sa Pa nổi tiếng với những thửa ruộng bậc thang.
Lụa Hà Đông mềm và nhẹ.
Liên kết ngoài
Lịch sử hình thành
Đọc thêm
Vị trí địa lý
Chúng tôi đi chợ mỗi buổi sáng.
Cảm ơn bạn rất nhiều.
""".strip().splitlines()

TURKISH = """
Ankara, Türkiye'nin başkenti ve ikinci büyük şehridir.
Karagöz ve Hacivat, gölge oyununun en bilinen kahramanlarıdır.
İstanbul Boğazı Karadeniz ile Marmara Denizi'ni birbirine bağlar.
Türk kahvesi cezvede pişirilir ve küçük fincanlarda sunulur.
Mustafa Kemal Atatürk 1881 yılında Selanik'te doğdu.
Kapadokya peribacaları ve yeraltı şehirleriyle ünlüdür.
Nasreddin Hoca fıkraları dilden dile anlatılır.
Köyde yaşayanların çoğu hayvancılık ve tarımla uğraşır.
Ayasofya, altıncı yüzyılda kilise olarak inşa edildi.
Baklava ince yufka, ceviz ve şerbetle yapılır.
Osmanlı Devleti altı yüz yıldan fazla hüküm sürdü.
Yağlı güreş her yıl Edirne'de düzenlenir.
Van Gölü ülkenin en büyük gölüdür.
Ebru sanatı su üzerinde boyalarla yapılır.
Çocuklar bayramda büyüklerin elini öper.
Mevlana Celaleddin Rumi Konya'da yaşadı ve orada öldü.
Bağlama, halk müziğinde en çok kullanılan telli çalgıdır.
Cumhuriyet 29 Ekim 1923 tarihinde ilan edildi.
Hamam kültürü Roma döneminden beri sürmektedir.
Zeytin ağaçları Ege kıyılarında çok yaygındır.
Müze pazartesi dışında her gün açıktır.
Düğünlerde davul ve zurna çalınır.
Kırmızı mercimek çorbası limonla içilir.
Yazar, ilk romanını yirmi yaşındayken yayımladı.
Nevruz baharın gelişini simgeler.
Halı dokumacılığı Uşak ve Hereke'de gelişmiştir.
Bu yıl yağmur az yağdı.
Dış bağlantılar
Ayrıca bakınız
Hayatı ve eserleri
Nüfusun büyük bölümü şehirde yaşar.
Yardımınız için teşekkür ederim.
""".strip().splitlines()

GERMAN = """
Berlin ist die Hauptstadt und der bevölkerungsreichste Ort Deutschlands.
Der Kölner Dom wurde erst im 19. Jahrhundert vollendet.
Zu Weihnachten backen viele Familien Lebkuchen und Stollen.
Johann Sebastian Bach wurde 1685 in Eisenach geboren.
Das Oktoberfest findet jedes Jahr auf der Theresienwiese statt.
Die Brüder Grimm sammelten Märchen aus allen Teilen des Landes.
Am 9. November 1989 fiel die Mauer.
Der Rhein entspringt in den Schweizer Alpen und mündet in die Nordsee.
Brezeln werden vor dem Backen in Lauge getaucht.
Goethe schrieb den ersten Teil des Faust im Alter von fast sechzig Jahren.
Im Schwarzwald werden seit Jahrhunderten Kuckucksuhren hergestellt.
Die meisten Einwohner des Dorfes leben vom Weinbau.
Der Karneval beginnt am elften November um elf Uhr elf.
Sie studierte Mathematik in Göttingen und lehrte später in Hamburg.
Das Museum ist täglich außer montags geöffnet.
Martin Luther übersetzte die Bibel ins Deutsche.
Die Elbe fließt durch Dresden und Hamburg.
Kinder suchen zu Ostern bunte Eier im Garten.
Der Zug fährt um acht Uhr nach Leipzig.
Spätzle sind eine schwäbische Spezialität.
Das Schloss Neuschwanstein ließ König Ludwig der Zweite bauen.
Am Nikolausabend stellen die Kinder ihre Schuhe vor die Tür.
Die Stadt gehörte lange zur Hanse.
Wer rastet, der rostet.
Das Gemälde hängt heute in München.
Im Winter liegt in den Bergen viel Schnee.
Die Kirche stammt aus dem zwölften Jahrhundert.
Leben und Werk
Siehe auch
Geschichte des Ortes
Nach dem Krieg wurde die Brücke wieder aufgebaut.
Vielen Dank für Ihre Hilfe.
""".strip().splitlines()

SENTENCES = {
    "id": INDONESIAN,
    "sw": SWAHILI,
    "vi": VIETNAMESE,
    "tr": TURKISH,
    "de": GERMAN,
}
